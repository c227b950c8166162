//! One burst as the BPF programs report it.

use crate::bpf::intf;
use foresight_model::burst::FEATURES;
use foresight_model::fixed::from_q16;
use foresight_model::samples::BurstSample;

/// A burst that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When it was over: CLOCK_MONOTONIC.
    pub(crate) at_ns: u64,
    pub(crate) pid: u32,
    /// The thread's name.
    pub(crate) name: String,
    /// How much CPU time it took.
    pub(crate) ran_ns: u64,
    /// Of the wakeup that began it.
    pub(crate) features: [i32; FEATURES],
    /// The logarithm of what it took.
    pub(crate) length: i32,
    /// That of the bursts before on average, which is what is predicted without a line.
    pub(crate) average: i32,
    /// How far from it the task's line said that it would be; `None` if there was none.
    pub(crate) deviation: Option<i32>,
    /// The line had done better than the average so far.
    pub(crate) chosen: bool,
    /// It was what the scheduler went by.
    pub(crate) used: bool,
}

impl Sample {
    /// Of what stands in the ring buffer; `None` if that is too short to be one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<intf::burst_sample>() {
            return None;
        }
        // SAFETY: there are as many bytes, and any bytes make one: it has integers alone.
        let raw: intf::burst_sample =
            unsafe { bytes.as_ptr().cast::<intf::burst_sample>().read_unaligned() };
        let has = |flag: intf::sample_flags| raw.flags & flag != 0;
        let name = raw.name.iter().map(|byte| byte.cast_unsigned());
        let name: Vec<u8> = name.take_while(|byte| *byte != 0).collect();
        Some(Self {
            at_ns: raw.at,
            pid: raw.pid,
            name: String::from_utf8_lossy(&name).into_owned(),
            ran_ns: raw.ran,
            features: raw.features,
            length: raw.length,
            average: raw.average,
            deviation: has(intf::sample_flags_HAD_LINE).then_some(raw.deviation),
            chosen: has(intf::sample_flags_CHOSE_LINE),
            used: has(intf::sample_flags_USED_LINE),
        })
    }

    /// As it is collected.
    pub(crate) fn to_burst(&self) -> BurstSample {
        BurstSample {
            at_ns: self.at_ns,
            pid: self.pid,
            comm: self.name.clone(),
            x: self.features,
            y: self.length,
            ewma: self.average,
        }
    }

    /// How far from the average it was: what lines are fitted to.
    pub(crate) fn residual(&self) -> i32 {
        self.length.saturating_sub(self.average)
    }

    /// How far each prediction was off, in doublings: that it would be as the last one, as the average, and as the line says
    /// where that has done better so far, else as the average.
    pub(crate) fn errors(&self) -> Errors {
        let average = from_q16(self.residual());
        let line = self.deviation.filter(|_| self.chosen);
        Errors {
            last: average - from_q16(self.features[1]),
            average,
            line: average - line.map_or(0.0, from_q16),
        }
    }
}

/// How far predictions were off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Errors {
    pub(crate) last: f64,
    pub(crate) average: f64,
    pub(crate) line: f64,
}

#[cfg(test)]
pub(crate) mod tests {
    use foresight_model::fixed::ONE;

    use super::*;

    /// A burst that was twice as long as the average, and four times as the last.
    pub(crate) fn sample(pid: u32, deviation: Option<i32>, chosen: bool) -> Sample {
        let mut features = [0; FEATURES];
        features[0] = ONE;
        features[1] = -ONE;
        Sample {
            at_ns: 1,
            pid,
            name: "make".to_owned(),
            ran_ns: 1 << 21,
            features,
            length: 21 * ONE,
            average: 20 * ONE,
            deviation,
            chosen,
            used: false,
        }
    }

    #[test]
    fn errors_are_in_doublings_and_a_line_counts_where_it_was_chosen() {
        let expect = |line, errors: Errors| {
            assert_eq!(
                errors,
                Errors {
                    last: 2.0,
                    average: 1.0,
                    line
                }
            );
        };
        expect(1.0, sample(1, None, false).errors());
        expect(1.0, sample(1, Some(ONE), false).errors());
        expect(0.0, sample(1, Some(ONE), true).errors());
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        let mut raw = intf::burst_sample {
            at: 6,
            ran: 5,
            pid: 7,
            flags: intf::sample_flags_HAD_LINE | intf::sample_flags_CHOSE_LINE,
            features: [1, 2, 3, 4, 5, 6, 7, 8],
            length: 9,
            average: 4,
            deviation: 3,
            pad: 0,
            name: [0; 16],
        };
        for (place, byte) in raw.name.iter_mut().zip(b"cc\xff") {
            *place = byte.cast_signed();
        }
        let size = size_of::<intf::burst_sample>();
        // SAFETY: it has no bytes that are not of a field.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const raw).cast::<u8>(), size) };
        let sample = Sample::read(bytes).unwrap();
        assert_eq!(
            (sample.pid, sample.residual(), sample.deviation),
            (7, 5, Some(3))
        );
        assert_eq!(sample.name, "cc\u{fffd}");
        assert!(sample.chosen && !sample.used);
        assert_eq!(Sample::read(&bytes[1..]), None);
    }
}
