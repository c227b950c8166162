//! One move that was considered, as the BPF programs report it.

use foresight_model::samples::MoveSample;

use crate::bpf::intf;

/// Whether a task was moved, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Considered {
    /// What is learned from.
    pub(crate) sample: MoveSample,
    /// What the network said, and which one that was; `None` if there was none.
    pub(crate) verdict: Option<Verdict>,
}

/// What a network said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) goes: bool,
    /// Under which version it was written.
    pub(crate) version: u32,
}

impl Considered {
    /// Of what stands in the ring buffer, where chance decided in this share; `None` if that is too short to be one.
    pub(crate) fn read(bytes: &[u8], explore: f64) -> Option<Self> {
        if bytes.len() < size_of::<intf::move_sample>() {
            return None;
        }
        // SAFETY: there are as many bytes, and any bytes make one: it has integers alone.
        let raw: intf::move_sample =
            unsafe { bytes.as_ptr().cast::<intf::move_sample>().read_unaligned() };
        let has = |flag: intf::move_flags| raw.flags & flag != 0;
        let propensity = if has(intf::move_flags_MOVE_EXPLORED) {
            explore
        } else {
            1.0 - explore
        };
        let verdict = has(intf::move_flags_MOVE_HAD_VERDICT).then(|| Verdict {
            goes: has(intf::move_flags_MOVE_SAID_GO),
            version: raw.version,
        });
        Some(Self {
            sample: MoveSample {
                at_ns: raw.at,
                pid: raw.pid,
                x: raw.features,
                moved: has(intf::move_flags_MOVE_WENT),
                propensity,
                waited_ns: raw.waited,
                ran_ns: raw.ran,
                predicted_ns: raw.predicted,
            },
            verdict,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read_with_how_likely_that_was() {
        let mut raw = intf::move_sample {
            at: 1,
            waited: 2,
            ran: 3,
            predicted: 4,
            pid: 5,
            flags: intf::move_flags_MOVE_HAD_VERDICT | intf::move_flags_MOVE_SAID_GO,
            version: 6,
            features: [7; 16],
            pad: 0,
        };
        let read = |raw: &intf::move_sample, cut: usize| {
            let size = size_of::<intf::move_sample>() - cut;
            // SAFETY: it has no bytes that are not of a field.
            let bytes = unsafe { std::slice::from_raw_parts((&raw const *raw).cast::<u8>(), size) };
            Considered::read(bytes, 0.25)
        };
        let considered = read(&raw, 0).unwrap();
        let verdict = considered.verdict.unwrap();
        assert!(verdict.goes && verdict.version == 6 && !considered.sample.moved);
        assert_eq!(considered.sample.propensity, 0.75);
        assert_eq!(
            (considered.sample.x, considered.sample.waited_ns),
            ([7; 16], 2)
        );
        raw.flags = intf::move_flags_MOVE_EXPLORED | intf::move_flags_MOVE_WENT;
        let considered = read(&raw, 0).unwrap();
        assert_eq!(considered.verdict, None);
        assert!(considered.sample.moved && considered.sample.propensity == 0.25);
        assert_eq!(read(&raw, 1), None);
    }
}
