//! Owns what was measured last, of which a trace can be made afterwards: the counters and signals of each window, and
//! what the kernel ran. Nothing of processes is in it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use auto_ext_signals::{Machine, Sample, Signal, Signals};

use super::format::{Entry, Header, VERSION, rounded};
use super::writer::Writer;

/// How many windows are kept: ten minutes of the usual length, in at most two megabytes.
const MAX_WINDOWS: usize = 2400;

/// One window.
#[derive(Clone, Debug, PartialEq)]
struct Window {
    dt: Duration,
    signals: Signals,
    /// The counters at its end.
    totals: Sample,
    machine: Machine,
    scheduler: Arc<str>,
}

/// The last windows, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recent {
    windows: VecDeque<Window>,
}

/// What else a trace says of the machine that measured it.
pub(crate) struct About {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// How long a window was to be.
    pub(crate) window: Duration,
    /// What cannot be measured, with the reason.
    pub(crate) missing: BTreeMap<Signal, String>,
    /// CLOCK_REALTIME in microseconds, at the end of the last window.
    pub(crate) now_us: u64,
}

/// The last windows as a trace.
#[derive(Debug, PartialEq)]
pub(crate) struct RecentTrace {
    header: Header,
    windows: Vec<Window>,
}

impl Recent {
    /// Takes the window of the length `dt` that ended with these counters, in which `scheduler` ran.
    pub(crate) fn push(
        &mut self,
        dt: Duration,
        signals: Signals,
        totals: Sample,
        machine: Machine,
        scheduler: &str,
    ) {
        // The same text as before, nearly always.
        let scheduler = match self.windows.back() {
            Some(last) if *last.scheduler == *scheduler => Arc::clone(&last.scheduler),
            _ => scheduler.into(),
        };
        if self.windows.len() == MAX_WINDOWS {
            self.windows.pop_front();
        }
        self.windows.push_back(Window {
            dt,
            signals,
            totals,
            machine,
            scheduler,
        });
    }

    /// The windows that ended in the time `last` before the end of the newest one; none if nothing was measured.
    pub(crate) fn trace(&self, last: Duration, about: About) -> Option<RecentTrace> {
        let end_ns = self.windows.back()?.totals.at_ns;
        let begin_ns = end_ns.saturating_sub(u64::try_from(last.as_nanos()).unwrap_or(u64::MAX));
        let after = |window: &Window| window.totals.at_ns > begin_ns;
        let windows = self.windows.iter().skip_while(|window| !after(window));
        let windows: Vec<Window> = windows.cloned().collect();
        let first = windows.first()?;
        let span_us = (end_ns - first.began_ns()) / 1000;
        let header = Header {
            trace: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: about.kernel,
            cpus: first.totals.cpus,
            label: None,
            started_us: about.now_us.saturating_sub(span_us),
            window_ms: u64::try_from(about.window.as_millis()).unwrap_or(u64::MAX),
            machine: first.machine,
            missing: about.missing,
        };
        Some(RecentTrace { header, windows })
    }
}

impl Window {
    /// When it began, in nanoseconds of CLOCK_MONOTONIC.
    fn began_ns(&self) -> u64 {
        let dt_ns = u64::try_from(self.dt.as_nanos()).unwrap_or(u64::MAX);
        self.totals.at_ns.saturating_sub(dt_ns)
    }
}

impl RecentTrace {
    /// Its lines.
    ///
    /// # Errors
    /// When a value has no text, which none has.
    pub(crate) fn text(&self) -> io::Result<String> {
        let mut text = Vec::new();
        let mut writer = Writer::new(&mut text, &self.header)?;
        let began_ns = self.windows.first().map_or(0, Window::began_ns);
        let mut machine = self.header.machine;
        for window in &self.windows {
            let at_us = window.totals.at_ns.saturating_sub(began_ns) / 1000;
            let begun_us = window.began_ns().saturating_sub(began_ns) / 1000;
            let changed = window.machine != machine;
            machine = window.machine;
            writer.write(Entry {
                at_us,
                dt_us: Some(at_us - begun_us),
                signals: Some(rounded(&window.signals)),
                totals: Some(window.totals),
                machine: changed.then_some(machine),
                scheduler: Some(window.scheduler.to_string()),
                ..Entry::default()
            })?;
        }
        String::from_utf8(text).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Reader;

    const WINDOW: Duration = Duration::from_millis(250);

    fn about() -> About {
        About {
            kernel: "7.2".to_owned(),
            window: WINDOW,
            missing: BTreeMap::from([(Signal::Mem, "not permitted".to_owned())]),
            now_us: 1_000_000_000,
        }
    }

    fn sample(at: Duration) -> Sample {
        Sample {
            at_ns: u64::try_from(at.as_nanos()).unwrap(),
            cpus: 4,
            ..Sample::default()
        }
    }

    /// So many windows, each with its number in hundredths as `cpu`.
    fn measured(count: u32) -> Recent {
        let mut recent = Recent::default();
        for number in 1..=count {
            let mut signals = Signals::default();
            signals.set(Signal::Cpu, Some(f64::from(number % 100) / 100.0));
            let scheduler = if number > 2 { "scx_lavd" } else { "kernel" };
            let machine = Machine {
                fault_ns: f64::from(number / 240),
                ..Machine::default()
            };
            recent.push(WINDOW, signals, sample(WINDOW * number), machine, scheduler);
        }
        recent
    }

    fn read(trace: &RecentTrace) -> (Header, Vec<Entry>) {
        let text = trace.text().unwrap();
        let mut reader = Reader::new("recent", text.as_bytes()).unwrap();
        let entries = (&mut reader).collect::<Result<_, _>>().unwrap();
        (reader.header().clone(), entries)
    }

    #[test]
    fn a_trace_of_the_last_windows_reads_as_one_that_was_recorded() {
        let recent = measured(6);
        let (header, entries) = read(&recent.trace(WINDOW * 5, about()).unwrap());
        assert_eq!((header.cpus, header.label), (4, None));
        assert_eq!(header.started_us, 1_000_000_000 - 5 * 250_000);
        assert_eq!(header.missing.len(), 1);
        let times: Vec<_> = entries
            .iter()
            .map(|entry| (entry.at_us, entry.dt_us))
            .collect();
        let expected: Vec<_> = (1..=5)
            .map(|number| (number * 250_000, Some(250_000)))
            .collect();
        assert_eq!(times, expected);
        let schedulers = entries.iter().map(|entry| entry.scheduler.as_deref());
        let mut expected = vec![Some("kernel")];
        expected.extend([Some("scx_lavd"); 4]);
        assert_eq!(schedulers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest() {
        let recent = measured(3000);
        let bytes = MAX_WINDOWS * size_of::<Window>();
        assert!(bytes <= 2 << 20, "{bytes}");
        let (_, entries) = read(&recent.trace(Duration::MAX, about()).unwrap());
        assert_eq!(entries.len(), MAX_WINDOWS);
        assert_eq!(entries.last().unwrap().totals, Some(sample(WINDOW * 3000)));
        let machines = entries.iter().filter(|entry| entry.machine.is_some());
        assert_eq!(machines.count(), 10);
    }

    #[test]
    fn where_windows_are_missing_between_two_the_time_passes() {
        let mut recent = measured(1);
        let late = Duration::from_secs(10);
        let signals = Signals::default();
        recent.push(WINDOW, signals, sample(late), Machine::default(), "kernel");
        let (_, entries) = read(&recent.trace(Duration::MAX, about()).unwrap());
        assert_eq!(entries[1].at_us, 10_000_000);
        assert_eq!(entries[1].dt_us, Some(250_000));
    }

    #[test]
    fn where_nothing_was_measured_there_is_no_trace() {
        assert_eq!(Recent::default().trace(WINDOW, about()), None);
    }
}
