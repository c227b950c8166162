//! The metrics as OpenMetrics text: their names, units and descriptions.
//!
//! Names follow the conventions of Prometheus: `auto_ext_`, what it is, the unit, and `_total` for what only grows.

use std::collections::BTreeMap;
use std::fmt;

use auto_ext_core::SignalNow;
use auto_ext_policy::Profile;
use auto_ext_signals::{Level, Signal};
use auto_ext_trials::ClassStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::counters::{Counters, GAPS};
use crate::api::status::{Current, DaemonStatus};

/// All modes, so that each has a line whichever holds.
const MODES: [&str; 5] = ["auto", "pinned", "held", "observe", "yielded"];

/// The values of all metrics at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) current: Current,
    pub(crate) status: DaemonStatus,
    pub(crate) signals: Vec<SignalNow>,
    pub(crate) counters: Counters,
    /// What trials found on this machine.
    pub(crate) found: Vec<ClassStatus>,
    /// The policy's file is valid.
    pub(crate) policy_is_valid: bool,
    /// When the daemon started: CLOCK_REALTIME in microseconds.
    pub(crate) started: u64,
    /// CPU time that the daemon has used, in seconds.
    pub(crate) cpu_seconds: f64,
}

/// The metrics as OpenMetrics text.
pub(crate) fn open_metrics(snapshot: Snapshot) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    // Writing into memory does not fail.
    let _ = encode(&mut text, &registry);
    text
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metrics = Metrics(&mut encoder);
        self.state(&mut metrics)?;
        self.signals(&mut metrics)?;
        self.trials(&mut metrics)?;
        self.counters(&mut metrics)
    }
}

impl Snapshot {
    fn state(&self, metrics: &mut Metrics<'_, '_>) -> fmt::Result {
        let (current, status) = (&self.current, &self.status);
        metrics.info(
            "auto_ext_build",
            "The version of the daemon",
            [("version", &status.version)],
        )?;
        metrics.info(
            "auto_ext_scheduler",
            "What the kernel runs, and who started it",
            [
                ("scheduler", &current.current_scheduler),
                ("owner", &current.current_owner),
            ],
        )?;
        metrics.info(
            "auto_ext_desired_scheduler",
            "What should run",
            [("scheduler", &status.desired_scheduler)],
        )?;
        metrics.info(
            "auto_ext_class",
            "The class of the load",
            [("class", &status.class)],
        )?;
        metrics.gauges(
            "auto_ext_mode",
            "Who decides: 1 for the mode that holds",
            None,
            MODES.map(|mode| ([("mode", mode)], one_if(mode == status.mode))),
        )?;
        metrics.gauge(
            "auto_ext_policy_valid",
            "Whether the policy's file is valid; if not, the last good one is in force",
            None,
            one_if(self.policy_is_valid),
        )?;
        let seconds = Some(Unit::Seconds);
        metrics.gauge(
            "auto_ext_scheduler_start_timestamp",
            "When the current scheduler took over",
            seconds.as_ref(),
            in_seconds(status.since),
        )?;
        metrics.gauge(
            "auto_ext_start_timestamp",
            "When the daemon started",
            seconds.as_ref(),
            in_seconds(self.started),
        )?;
        let quarantined = status.quarantined.iter();
        metrics.gauges(
            "auto_ext_quarantine_end_timestamp",
            "Until when a scheduler that failed is quarantined",
            seconds.as_ref(),
            quarantined.map(|(name, until)| ([("scheduler", name.as_str())], in_seconds(*until))),
        )
    }

    fn signals(&self, metrics: &mut Metrics<'_, '_>) -> fmt::Result {
        let shares = || {
            let signals = self.signals.iter();
            signals.filter(|now| now.signal != Signal::Parallel)
        };
        let waiting = || {
            let signals = self.signals.iter();
            signals.filter(|now| now.signal == Signal::Parallel)
        };
        let label = |now: &SignalNow| ("signal", now.signal.name());
        metrics.gauges(
            "auto_ext_signal_ratio",
            "A measured property of the load over the last window, as a share from 0 to 1",
            None,
            shares().filter_map(|now| Some(([label(now)], now.value?))),
        )?;
        metrics.gauges(
            "auto_ext_signal_threshold_ratio",
            "Where a signal becomes high, and where low again",
            None,
            shares().flat_map(|now| {
                let threshold = |name, value| ([label(now), ("threshold", name)], value);
                [threshold("high", now.high), threshold("low", now.low)]
            }),
        )?;
        if let Some(value) = waiting().find_map(|now| now.value) {
            metrics.gauge(
                "auto_ext_waiting_tasks_per_cpu",
                "Tasks waiting for a CPU, per CPU in use: the signal `parallel`",
                None,
                value,
            )?;
        }
        metrics.gauges(
            "auto_ext_waiting_tasks_per_cpu_threshold",
            "Where the signal `parallel` becomes high, and where low again",
            None,
            waiting().flat_map(|now| {
                [
                    ([("threshold", "high")], now.high),
                    ([("threshold", "low")], now.low),
                ]
            }),
        )?;
        metrics.gauges(
            "auto_ext_signal_high",
            "Whether a signal is high; none for one that cannot be measured",
            None,
            self.signals.iter().filter_map(|now| match now.level {
                Level::Unknown => None,
                level => Some(([label(now)], one_if(level == Level::High))),
            }),
        )
    }

    fn trials(&self, metrics: &mut Metrics<'_, '_>) -> fmt::Result {
        let counters = &self.counters;
        metrics.gauge(
            "auto_ext_trial_running",
            "Whether a trial is on",
            None,
            one_if(self.status.trial.is_some()),
        )?;
        // The kernel's own has an entry for the noise of the load.
        let compared = || {
            let found = self.found.iter();
            // What a comparison judged by may be something else, and what others found is not of this machine.
            let found = found.filter(|found| {
                found.metric.is_some() && found.compared.is_none() && !found.is_imported
            });
            found.map(|found| {
                let labels = [
                    ("class", found.class.as_str()),
                    ("goal", found.goal.name()),
                    ("scheduler", found.scheduler.as_str()),
                    ("profile", found.profile.map_or("", Profile::name)),
                ];
                (labels, found)
            })
        };
        metrics.gauges(
            "auto_ext_trial_effect_ratio",
            "How many times as good as the kernel's own scheduler another was in trials",
            None,
            compared().filter_map(|(labels, found)| Some((labels, found.effect?.exp()))),
        )?;
        metrics.gauges(
            "auto_ext_trial_proven",
            "Whether trials proved that a scheduler is better than the kernel's own",
            None,
            compared().map(|(labels, found)| (labels, one_if(found.is_proven))),
        )?;
        let pairs = in_twos(&counters.trial_pairs);
        metrics.counters(
            "auto_ext_trial_pairs",
            "Pairs of turns in trials, by the program that was tried and how they ended",
            None,
            pairs.iter().map(|(scheduler, end, count)| {
                ([("scheduler", *scheduler), ("end", *end)], *count as f64)
            }),
        )?;
        let guards = counters.trial_guards.iter();
        metrics.counters(
            "auto_ext_trial_aborts",
            "Trials that were ended at once, by the guard that did",
            None,
            guards.map(|(guard, count)| ([("guard", guard.as_str())], *count as f64)),
        )?;
        let times = counters.trial_seconds.iter();
        metrics.counters(
            "auto_ext_trial_run",
            "Time of trials in which the kernel ran a scheduler",
            Some(Unit::Seconds).as_ref(),
            times.map(|(name, time)| ([("scheduler", name.as_str())], *time)),
        )
    }

    fn counters(&self, metrics: &mut Metrics<'_, '_>) -> fmt::Result {
        let counters = &self.counters;
        let switches = in_twos(&counters.switches);
        metrics.counters(
            "auto_ext_switches",
            "Switches from one scheduler to another that auto-ext made",
            None,
            switches
                .iter()
                .map(|(from, to, count)| ([("from", *from), ("to", *to)], *count as f64)),
        )?;
        for (name, help, counts) in [
            (
                "auto_ext_switch_failures",
                "Switches that failed, by what was to run",
                &counters.failures,
            ),
            (
                "auto_ext_scheduler_exits",
                "Schedulers of auto-ext that ended by themselves",
                &counters.exits,
            ),
        ] {
            let counts = counts.iter();
            let counts =
                counts.map(|(name, count)| ([("scheduler", name.as_str())], *count as f64));
            metrics.counters(name, help, None, counts)?;
        }
        for (name, help, count) in [
            (
                "auto_ext_foreign_changes",
                "Changes of the scheduler that somebody else made",
                counters.foreign,
            ),
            (
                "auto_ext_refusals",
                "Requests of callers that were refused",
                counters.refusals,
            ),
            ("auto_ext_starts", "Starts of the daemon", counters.starts),
        ] {
            metrics.counter(name, help, None, count as f64)?;
        }
        let seconds = Some(Unit::Seconds);
        for (name, help, label, times) in [
            (
                "auto_ext_scheduler_run",
                "Time in which the kernel ran a scheduler, while the daemon ran",
                "scheduler",
                &counters.scheduler_seconds,
            ),
            (
                "auto_ext_class_held",
                "Time in which the load was of a class",
                "class",
                &counters.class_seconds,
            ),
        ] {
            let times = times
                .iter()
                .map(|(name, time)| ([(label, name.as_str())], *time));
            metrics.counters(name, help, seconds.as_ref(), times)?;
        }
        metrics.counter(
            "auto_ext_cpu",
            "CPU time that the daemon has used since it started",
            seconds.as_ref(),
            self.cpu_seconds,
        )?;
        metrics.gaps(counters)
    }
}

/// Writes metrics with their descriptions.
struct Metrics<'m, 'e>(&'m mut DescriptorEncoder<'e>);

impl Metrics<'_, '_> {
    fn describe<'d>(
        &'d mut self,
        name: &'d str,
        help: &'d str,
        unit: Option<&'d Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'d>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn info<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [(&str, &String); N],
    ) -> fmt::Result {
        let labels = labels.map(|(name, value)| (name, value.as_str()));
        self.describe(name, help, None, MetricType::Info)?
            .encode_info(&labels)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let gauge = self.describe(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(gauge)
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let counter = self.describe(name, help, unit, MetricType::Counter)?;
        ConstCounter::new(value).encode(counter)
    }

    fn gauges<'v, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = ([(&'v str, &'v str); N], f64)>,
    ) -> fmt::Result {
        let gauges = self.describe(name, help, unit, MetricType::Gauge)?;
        family(gauges, ConstGauge::new, values)
    }

    fn counters<'v, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = ([(&'v str, &'v str); N], f64)>,
    ) -> fmt::Result {
        let counters = self.describe(name, help, unit, MetricType::Counter)?;
        family(counters, ConstCounter::new, values)
    }

    fn gaps(&mut self, counters: &Counters) -> fmt::Result {
        let help = "Time in which the kernel had no scheduler enabled, for each switch";
        let unit = Some(Unit::Seconds);
        let kind = MetricType::Histogram;
        let mut family = self.describe("auto_ext_switch_gap", help, unit.as_ref(), kind)?;
        let bounds = GAPS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counters.gaps).collect();
        let count = counters.gaps.iter().sum();
        family.encode_histogram::<[(&str, &str); 0]>(counters.gap_seconds, count, &buckets, None)
    }
}

/// Counts with both their names.
fn in_twos(counts: &BTreeMap<String, BTreeMap<String, u64>>) -> Vec<(&str, &str, u64)> {
    let counts = counts.iter().flat_map(|(first, counts)| {
        let counts = counts.iter();
        counts.map(move |(second, count)| (first.as_str(), second.as_str(), *count))
    });
    counts.collect()
}

/// Writes a metric for each value, with its labels.
fn family<'v, M: EncodeMetric, const N: usize>(
    mut described: MetricEncoder<'_>,
    metric: fn(f64) -> M,
    values: impl IntoIterator<Item = ([(&'v str, &'v str); N], f64)>,
) -> fmt::Result {
    for (labels, value) in values {
        metric(value).encode(described.encode_family(&labels)?)?;
    }
    Ok(())
}

fn one_if(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn in_seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
