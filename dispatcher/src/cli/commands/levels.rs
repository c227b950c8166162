//! `auto-ext levels`: measures without the daemon, and prints a line per window, on request with what the scheduler that runs
//! makes of tasks that sleep.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use auto_ext_policy::{MAX_WINDOW, MIN_WINDOW};
use auto_ext_profiler::{LeftOut, Outcomes, Profiler};
use auto_ext_service::duration;
use auto_ext_signals::{
    Level, LevelTracker, Levels, Machine, Outcome, OutcomeTotals, Sample, Signal, Signals,
    Thresholds, Waits, Windows,
};
use humantime::format_duration;
use serde_json::json;

use super::style::{self, STRONG, Styled};
use crate::sources::load;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// As one JSON object per window
    #[arg(long)]
    json: bool,
    /// Stop after one window
    #[arg(long)]
    once: bool,
    /// How long a window is, 50ms to 10s
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = window)]
    window: Duration,
    /// Also what the scheduler that runs makes of tasks that sleep: of those that worked for less than 4 ms before and
    /// are not in the background how many are woken a second; how long they wait for a CPU (the mean, of waits of
    /// 100 ms at most, the median, what 95 % and 99 % do not exceed, the share of those longer than 2 ms);
    /// and, as `stretch`, how many times as long as their work needs it takes them to sleep again. This
    /// costs some time at each switch of a task for as long as it is measured
    #[arg(long)]
    waits: bool,
}

/// Parses the length of a window.
fn window(text: &str) -> Result<Duration, String> {
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
    let mut outcomes = match options.waits {
        true => Some(OutcomeWindows::begin()?),
        false => None,
    };
    let mut out = style::stdout();
    loop {
        sleep(options.window);
        let Some(window) = measurement.end() else {
            continue;
        };
        let outcome = outcomes.as_mut().map(OutcomeWindows::end);
        if options.json {
            let mut json = as_json(measurement.profiler.machine(), &window);
            if let Some(outcome) = outcome {
                json["outcome"] = json!(outcome);
            }
            writeln!(out, "{json}")?;
        } else {
            write!(out, "{}", as_line(&window.signals, &window.levels))?;
            if let Some(outcome) = outcome {
                write!(out, "   {}", as_columns(outcome.as_ref()))?;
            }
            writeln!(out)?;
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

/// Outcomes of one window after the other. Their programs are attached as long as this is.
struct OutcomeWindows {
    outcomes: Outcomes,
    before: Option<OutcomeTotals>,
}

impl OutcomeWindows {
    /// The first window begins now.
    fn begin() -> anyhow::Result<Self> {
        let outcomes =
            Outcomes::attach(LeftOut::OwnChildren).map_err(|error| load::refused(&error))?;
        Ok(Self {
            before: outcomes.read(),
            outcomes,
        })
    }

    /// A window ends now, and the next one begins; `None` when the counters of either end cannot be read.
    fn end(&mut self) -> Option<Outcome> {
        let after = self.outcomes.read();
        let before = std::mem::replace(&mut self.before, after);
        Outcome::between(before.as_ref()?, self.before.as_ref()?)
    }
}

/// `waits 812/s   mean 0.021 ms   50% 0.008   ...   stretch 1.12`, in columns.
fn as_columns(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return "waits -".to_owned();
    };
    let rate = format!("{:.0}/s", outcome.wakes_per_second);
    let waits = outcome.waits.as_ref().map_or("mean -".to_owned(), in_ms);
    let stretch = match outcome.stretch {
        Some(stretch) => format!("{stretch:.2}"),
        None => "-".to_owned(),
    };
    format!("waits {rate:<8}   {waits}   stretch {stretch}")
}

fn in_ms(waits: &Waits) -> String {
    let ms = |ns: f64| format!("{:<7.3}", ns / 1e6);
    let mean = format!("{:.3} ms", waits.mean_ns / 1e6);
    let p50 = ms(waits.p50_ns);
    let (p95, p99) = (ms(waits.p95_ns), ms(waits.p99_ns));
    let long = 100.0 * waits.long_share;
    format!("mean {mean:<10}   50% {p50}   95% {p95}   99% {p99}   >2ms {long:4.1} %")
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
    fn an_outcome_is_shown_in_milliseconds_and_what_nobody_waited_for_as_such() {
        let mut outcome = Outcome {
            wakes_per_second: 812.4,
            waits: Some(Waits {
                mean_ns: 21_000.0,
                p50_ns: 8_000.0,
                p95_ns: 90_000.0,
                p99_ns: 12_345_678.0,
                long_share: 0.015,
            }),
            stretch: Some(1.234),
        };
        let shown = as_columns(Some(&outcome));
        let words: Vec<&str> = shown.split_whitespace().collect();
        let expected =
            "waits 812/s mean 0.021 ms 50% 0.008 95% 0.090 99% 12.346 >2ms 1.5 % stretch 1.23";
        assert_eq!(words.join(" "), expected);
        (outcome.waits, outcome.stretch) = (None, None);
        let shown = as_columns(Some(&outcome));
        assert!(shown.ends_with("mean -   stretch -"), "{shown}");
        assert_eq!(as_columns(None), "waits -");
    }

    #[test]
    fn a_window_has_bounds() {
        assert_eq!(window("1s"), Ok(Duration::from_secs(1)));
        for text in ["1ms", "1h", "soon", ""] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
