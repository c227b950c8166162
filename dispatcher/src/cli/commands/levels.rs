//! `auto-ext levels`: measures without the daemon, and prints a line per window.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use auto_ext_policy::{MAX_WINDOW, MIN_WINDOW};
use auto_ext_profiler::Profiler;
use auto_ext_service::duration;
use auto_ext_signals::{
    Level, LevelTracker, Levels, Machine, Sample, Signal, Signals, Thresholds, Windows,
};
use humantime::format_duration;
use serde_json::json;

use super::style::{self, STRONG, Styled};
use crate::sources::load;

pub(crate) struct Options {
    pub(crate) json: bool,
    pub(crate) once: bool,
    pub(crate) window: Duration,
}

/// Parses the length of a window.
pub(crate) fn window(text: &str) -> Result<Duration, String> {
    let window = duration::parse(text).map_err(|error| error.to_string())?;
    if (MIN_WINDOW..=MAX_WINDOW).contains(&window) {
        Ok(window)
    } else {
        let (least, most) = (format_duration(MIN_WINDOW), format_duration(MAX_WINDOW));
        Err(format!("must be {least} to {most}"))
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let profiler = load::attach()?;
    for (signal, reason) in profiler.missing() {
        writeln!(io::stderr(), "{signal} cannot be measured: {reason}")?;
    }
    let mut measurement = Measurement::begin(profiler, Thresholds::default());
    let mut out = style::stdout();
    loop {
        sleep(options.window);
        let Some(window) = measurement.end() else {
            continue;
        };
        if options.json {
            writeln!(out, "{}", as_json(measurement.profiler.machine(), &window))?;
        } else {
            writeln!(out, "{}", as_line(&window.signals, &window.levels))?;
        }
        out.flush()?;
        if options.once {
            return Ok(());
        }
    }
}

/// Levels of one window after the other, without a daemon.
pub(crate) struct Measurement {
    profiler: Profiler,
    windows: Windows,
    tracker: LevelTracker,
}

/// What was measured in one.
pub(crate) struct Window {
    /// The totals at its end.
    sample: Sample,
    dt: Duration,
    pub(crate) signals: Signals,
    pub(crate) levels: Levels,
}

impl Measurement {
    /// The first window begins now.
    pub(crate) fn begin(mut profiler: Profiler, thresholds: Thresholds) -> Self {
        Self {
            windows: Windows::begin(profiler.sample()),
            tracker: LevelTracker::new(thresholds),
            profiler,
        }
    }

    /// A window ends now, and the next one begins; `None` when no time has passed in it, or its counters cannot be.
    pub(crate) fn end(&mut self) -> Option<Window> {
        let sample = self.profiler.sample();
        let (dt, signals) = self.windows.end(sample, self.profiler.machine());
        let signals = signals?;
        let levels = self.tracker.update(dt, &signals);
        Some(Window {
            sample,
            dt,
            signals,
            levels,
        })
    }
}

/// `cpu 0.98 HIGH   parallel 0.10 low ...`, in columns.
fn as_line(signals: &Signals, levels: &Levels) -> String {
    let column = |signal: Signal| match (signals.get(signal), levels.get(signal)) {
        (Some(value), Level::High) => {
            format!("{signal} {value:<6.3} {}", Styled(STRONG, "HIGH"))
        }
        (Some(value), _) => format!("{signal} {value:<6.3} low "),
        (None, _) => format!("{signal} {:<6} ?   ", "-"),
    };
    Signal::ALL.map(column).join("   ").trim_end().to_owned()
}

/// The signals and levels of a window, with what they come from: the totals at its end, and what
/// was measured of the machine.
fn as_json(machine: &Machine, window: &Window) -> serde_json::Value {
    json!({
        "window_ms": window.dt.as_millis(),
        "signals": window.signals,
        "levels": window.levels.to_map(),
        "totals": window.sample,
        "machine": machine,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_measured_is_shown_as_such() {
        let mut signals = Signals::default();
        let mut levels = Levels::all(Level::Unknown);
        signals.set(Signal::Cpu, Some(0.98765));
        levels.set(Signal::Cpu, Level::High);
        let line = style::without_styles(|out| write!(out, "{}", as_line(&signals, &levels)));
        assert!(
            line.starts_with("cpu 0.988  HIGH   parallel -      ?"),
            "{line}"
        );
        let machine = Machine::default();
        let window = Window {
            sample: Sample::default(),
            dt: Duration::from_millis(250),
            signals,
            levels,
        };
        let json = as_json(&machine, &window);
        assert_eq!(json["signals"]["io"], serde_json::Value::Null);
        assert_eq!(json["levels"]["io"], "unknown");
        assert_eq!(json["levels"]["cpu"], "high");
    }

    #[test]
    fn a_window_has_bounds() {
        assert_eq!(window("1s"), Ok(Duration::from_secs(1)));
        for text in ["1ms", "1h", "soon", ""] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
