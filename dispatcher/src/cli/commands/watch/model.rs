//! What is known of the machine at one moment, as far as it is to be shown. Pure. All text from elsewhere is sanitized on its way in.

use auto_ext_core::{Explanation, KernelState};
use auto_ext_service::sanitize::sanitize;
use auto_ext_signals::{Level, Levels, Signal, Signals, Threshold, Thresholds};
use serde_json::Value as Json;

use super::cpus::Cpu;
use super::series::{Second, Series};
use crate::cli::commands::client::{Properties, property};
use crate::persistence::history::Entry;

/// Where what is shown comes from, besides the kernel.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// The daemon was asked and has not answered yet.
    Asked,
    /// The daemon.
    Daemon(Box<Facts>),
    /// There is no daemon, for this reason.
    Nobody { why: String, measuring: Measuring },
}

/// Whether the signals are measured here, as the daemon does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Measuring {
    /// Not yet.
    Waits,
    /// It is.
    Runs,
    /// It cannot be done, for this reason.
    Cannot(String),
}

/// What the daemon says of itself: its properties on D-Bus.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) owner: String,
    pub(super) pid: u64,
    pub(super) desired: String,
    pub(super) mode: String,
    pub(super) class: String,
    pub(super) signals: Signals,
    pub(super) levels: Vec<(Signal, Level)>,
    pub(super) reason: String,
    /// CLOCK_REALTIME in microseconds.
    pub(super) since: u64,
    pub(super) switches: u64,
    /// The schedulers that are quarantined, and until when (as `since`).
    pub(super) quarantined: Vec<(String, u64)>,
    pub(super) last_error: String,
    pub(super) version: String,
    /// D-Bus' `Trial`.
    pub(super) trial: Json,
}

impl Facts {
    /// Those in `properties`; what is not there is empty.
    pub(super) fn of(properties: &Properties) -> Self {
        let value = |name| property(properties, name);
        let text = |name| sanitize(value(name).as_str().unwrap_or_default());
        let number = |name| value(name).as_u64().unwrap_or_default();
        let mut signals = Signals::default();
        let (measured, levels) = (value("Signals"), value("Levels"));
        for signal in Signal::ALL {
            signals.set(signal, measured[signal.name()].as_f64());
        }
        let quarantined = value("Quarantined");
        let quarantined = quarantined.as_object().into_iter().flatten();
        Self {
            owner: text("CurrentOwner"),
            pid: number("SchedulerPid"),
            desired: text("DesiredScheduler"),
            mode: text("Mode"),
            class: text("Class"),
            signals,
            levels: Signal::ALL
                .map(|signal| (signal, level(levels[signal.name()].as_str())))
                .into(),
            reason: text("Reason"),
            since: number("Since"),
            switches: number("Switches"),
            quarantined: quarantined
                .map(|(name, until)| (sanitize(name), until.as_u64().unwrap_or_default()))
                .collect(),
            last_error: text("LastError"),
            version: text("Version"),
            trial: value("Trial"),
        }
    }
}

fn level(name: Option<&str>) -> Level {
    [Level::High, Level::Low]
        .into_iter()
        .find(|level| Some(level.name()) == name)
        .unwrap_or(Level::Unknown)
}

/// What was measured here: a window, and when signals are high and low.
pub(super) type Measured = (Signals, Levels, Thresholds);

/// All that is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// The time: CLOCK_REALTIME in microseconds.
    pub(super) now: u64,
    /// What the kernel says.
    pub(super) kernel: KernelState,
    pub(super) source: Source,
    /// The last decision.
    pub(super) why: Option<Explanation>,
    /// When signals are high and low; `None` where that is not known.
    pub(super) thresholds: Option<Thresholds>,
    /// The history, the newest entry first.
    pub(super) history: Vec<Entry>,
    pub(super) cpus: Vec<Cpu>,
    /// What can be pinned.
    pub(super) schedulers: Vec<String>,
    /// The signals and levels of the last window.
    current: (Signals, Levels),
    series: [Series; Signal::ALL.len()],
}

impl Known {
    /// What is known at first: what the kernel says.
    pub(super) fn new(now: u64, kernel: KernelState) -> Self {
        Self {
            now,
            kernel,
            source: Source::Asked,
            why: None,
            thresholds: None,
            history: Vec::new(),
            cpus: Vec::new(),
            schedulers: Vec::new(),
            current: (Signals::default(), Levels::all(Level::Unknown)),
            series: Default::default(),
        }
    }

    /// A second has passed.
    pub(super) fn second(&mut self, now: u64, kernel: KernelState) {
        self.now = now;
        self.kernel = kernel;
        let (signals, levels) = self.current;
        for (signal, series) in Signal::ALL.into_iter().zip(&mut self.series) {
            series.push(Second {
                value: signals.get(signal),
                level: levels.get(signal),
            });
        }
    }

    /// What the kernel runs, as D-Bus' `CurrentScheduler`.
    pub(super) fn scheduler(&self) -> String {
        sanitize(&self.kernel.scheduler())
    }

    /// The daemon's facts, if there is a daemon.
    pub(super) fn facts(&self) -> Option<&Facts> {
        match &self.source {
            Source::Daemon(facts) => Some(facts),
            Source::Asked | Source::Nobody { .. } => None,
        }
    }

    /// The value of the signal over the last window, and its level.
    pub(super) fn signal(&self, signal: Signal) -> (Option<f64>, Level) {
        let (signals, levels) = self.current;
        (signals.get(signal), levels.get(signal))
    }

    pub(super) fn series(&self, signal: Signal) -> &Series {
        &self.series[signal as usize]
    }

    pub(super) fn set_facts(&mut self, facts: Facts) {
        let mut levels = Levels::all(Level::Unknown);
        for (signal, level) in &facts.levels {
            levels.set(*signal, *level);
        }
        self.current = (facts.signals, levels);
        self.source = Source::Daemon(Box::new(facts));
    }

    /// The daemon does not answer. What it said before is not shown any more.
    pub(super) fn daemon_is_gone(&mut self, why: &str) {
        let measuring = match &self.source {
            Source::Nobody { measuring, .. } => measuring.clone(),
            Source::Asked | Source::Daemon(_) => {
                self.current = (Signals::default(), Levels::all(Level::Unknown));
                self.why = None;
                Measuring::Waits
            }
        };
        let why = sanitize(why);
        self.source = Source::Nobody { why, measuring };
    }

    /// The signals were measured here, which counts only while there is no daemon.
    pub(super) fn measured(&mut self, (signals, levels, thresholds): Measured) {
        if let Source::Nobody { measuring, .. } = &mut self.source {
            *measuring = Measuring::Runs;
            self.current = (signals, levels);
            self.thresholds = Some(thresholds);
        }
    }

    pub(super) fn cannot_measure(&mut self, reason: &str) {
        if let Source::Nobody { measuring, .. } = &mut self.source {
            *measuring = Measuring::Cannot(sanitize(reason));
        }
    }

    pub(super) fn set_history(&mut self, history: Vec<Entry>) {
        self.history = history.into_iter().map(sanitize_entry).collect();
    }

    pub(super) fn set_why(&mut self, why: Explanation) {
        let why = sanitize_explanation(why);
        if !why.signals.is_empty() {
            let mut thresholds = Thresholds::default();
            for now in &why.signals {
                let mean_over = std::time::Duration::from_millis(now.settle_ms);
                let (high, low) = (now.high, now.low);
                let threshold = Threshold {
                    high,
                    low,
                    mean_over,
                };
                thresholds.set(now.signal, threshold);
            }
            self.thresholds = Some(thresholds);
        }
        self.why = Some(why);
    }

    /// What can be pinned: the candidates of the rules, then what else is installed.
    pub(super) fn pinnable(&self) -> Vec<&str> {
        let rules = self.why.iter().flat_map(|why| &why.rules);
        let wanted = rules.flat_map(|rule| &rule.candidates).map(String::as_str);
        let mut names = vec![auto_ext_policy::KERNEL];
        for name in wanted.chain(self.schedulers.iter().map(String::as_str)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

fn sanitize_entry(mut entry: Entry) -> Entry {
    let Entry {
        from,
        to,
        class,
        reason,
        error,
        ..
    } = &mut entry;
    for text in [from, to, class, reason, error] {
        *text = sanitize(text);
    }
    entry
}

fn sanitize_explanation(mut why: Explanation) -> Explanation {
    let conditions = why.rules.iter_mut().flat_map(|rule| {
        let conditions = rule.conditions.iter_mut();
        let conditions = conditions.flat_map(|now| [&mut now.condition, &mut now.now]);
        let texts = [&mut rule.class, &mut rule.precedence].into_iter();
        texts.chain(&mut rule.candidates).chain(conditions)
    });
    let rejected = why.rejected.iter_mut();
    let rejected = rejected.flat_map(|rejected| [&mut rejected.candidate, &mut rejected.why]);
    let texts = [
        &mut why.mode,
        &mut why.class,
        &mut why.desired,
        &mut why.because,
    ];
    let texts = texts.into_iter().chain(&mut why.waits);
    let texts = texts.chain(&mut why.would_change).chain(&mut why.no_trial);
    let trial = why.trial.iter_mut().flat_map(|trial| {
        let texts = [&mut trial.class, &mut trial.runs, &mut trial.champion];
        texts.into_iter().chain(&mut trial.candidate)
    });
    let found = why.found.iter_mut().flat_map(|found| {
        let texts = [&mut found.class, &mut found.scheduler];
        texts.into_iter().chain(&mut found.benched_for)
    });
    let texts = texts.chain(trial).chain(found);
    for text in texts.chain(rejected).chain(conditions) {
        *text = sanitize(text);
    }
    why
}
