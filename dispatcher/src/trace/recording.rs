//! All that the daemon decides on, trials included, as it happens, in a trace from the daemon's start on: a replay decides the same.
//!
//! What people, programs and other schedulers do is not in traces, nor is what fails: a replay of a run with pins, leases or
//! failures goes its own way from there on.

use std::io::{self, Write};

use auto_ext_core::{Event, Moment};
use auto_ext_service::clock::microseconds;
use auto_ext_signals::{Machine, Sample};

use super::format::{Entry, Header, Told};
use super::writer::Writer;

/// A trace that is being written.
#[derive(Debug)]
pub(crate) struct Recording<W> {
    writer: Writer<W>,
    machine: Machine,
    /// The end of the last window, and the time of the last line, in microseconds since the beginning.
    window_at_us: u64,
    at_us: u64,
    /// What the next window is made of.
    measured: Option<(Sample, Machine)>,
}

impl<W: Write> Recording<W> {
    /// Begins a trace in `output`.
    ///
    /// # Errors
    /// Those of `output`.
    pub(crate) fn begin(output: W, header: &Header) -> io::Result<Self> {
        Ok(Self {
            writer: Writer::new(output, header)?,
            machine: header.machine,
            window_at_us: 0,
            at_us: 0,
            measured: None,
        })
    }

    #[cfg(test)]
    fn into_output(self) -> W {
        self.writer.into_output()
    }

    /// The counters of which the next window is made.
    pub(crate) fn measured(&mut self, sample: Sample, machine: Machine) {
        self.measured = Some((sample, machine));
    }

    /// Records what is decided on next, if it is something that traces have.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn happens(&mut self, event: &Event, now: Moment) -> io::Result<()> {
        self.at_us = self.at_us.max(microseconds(now));
        let mut entry = Entry::default();
        match event {
            Event::Window { dt, signals } => {
                let dt_us = microseconds(*dt);
                if dt_us == 0 {
                    return Ok(());
                }
                // It is decided a moment after its end, now more and now less.
                self.at_us = self.at_us.max(self.window_at_us.saturating_add(dt_us));
                self.window_at_us = self.at_us;
                entry.dt_us = Some(dt_us);
                entry.signals = Some(*signals);
                if let Some((sample, machine)) = self.measured.take() {
                    entry.totals = Some(sample);
                    entry.machine = (machine != self.machine).then_some(machine);
                    self.machine = machine;
                }
            }
            Event::Processes(events) => entry.processes.clone_from(events),
            Event::Power(power) => entry.power = Some(*power),
            Event::Profile(profile) => entry.profile = Some(*profile),
            Event::FallsAsleep => entry.asleep = Some(true),
            Event::WakesUp => entry.asleep = Some(false),
            Event::Switched { to } => entry.switched = Some(to.name().to_owned()),
            other => match Told::of(other) {
                Some(told) => entry.trials = Some(told),
                None => return Ok(()),
            },
        }
        entry.at_us = self.at_us;
        self.writer.write(entry)
    }
}

#[cfg(test)]
mod tests;
