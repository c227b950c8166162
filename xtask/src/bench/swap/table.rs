//! Owns how the swaps of one kernel are shown: a table for each load, a line for each tool, and the
//! ratios between the two.

use std::io::{self, Write};

use super::record::{Gap, Record};
use crate::bench::statistics::{percentile, spread};

/// Up to so many milliseconds an announced gap agrees with the sampler.
const AGREES: f64 = 2.0;

const AUTO_EXT: &str = "auto-ext";
const SCX_LOADER: &str = "scx_loader";

/// In milliseconds. `at most`: what the worst can have been, as the state was read now and then;
/// `returned` and `enabled`: the command and the new scheduler, from when the command was given.
const HEADER: [&str; 2] = [
    "             |                     |          without a scheduler          | not enabled | returned | enabled",
    "             | swaps  failed  gaps |  median     95th    worst   (at most) |      median |   median |  median",
];

/// All swaps of a tool under a load.
struct Series<'a> {
    records: Vec<&'a Record>,
    gaps: Vec<Gap>,
}

/// Prints a table for every load.
pub(super) fn print(
    out: &mut dyn Write,
    kernel: &str,
    seed: u64,
    records: &[Record],
) -> io::Result<()> {
    let mut loads: Vec<&str> = records.iter().map(|record| record.load.as_str()).collect();
    loads.dedup();
    for load in loads {
        let of = |tool: &str| {
            let wanted = |record: &&Record| record.load == load && record.tool == tool;
            Series::of(records.iter().filter(wanted).collect())
        };
        let (auto_ext, scx_loader) = (of(AUTO_EXT), of(SCX_LOADER));
        writeln!(out, "Linux {kernel}, {load}, seed {seed}")?;
        writeln!(out, "{}", HEADER.join("\n"))?;
        auto_ext.line(out, AUTO_EXT)?;
        scx_loader.line(out, SCX_LOADER)?;
        ratios(out, &auto_ext, &scx_loader)?;
        auto_ext.reports(out)?;
        sampler(out, &[&auto_ext, &scx_loader])?;
        for record in auto_ext.failed().chain(scx_loader.failed()) {
            writeln!(out, "  {record}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

impl<'a> Series<'a> {
    fn of(records: Vec<&'a Record>) -> Self {
        let gaps = records.iter().filter_map(|record| record.gap()).collect();
        Self { records, gaps }
    }

    fn failed(&self) -> impl Iterator<Item = &'a Record> {
        let all = self.records.iter().copied();
        all.filter(|record| record.error.is_some())
    }

    fn each(&self, value: impl FnMut(&Gap) -> u64) -> Vec<f64> {
        self.gaps.iter().map(value).map(milliseconds).collect()
    }

    fn line(&self, out: &mut dyn Write, name: &str) -> io::Result<()> {
        let (swaps, failed) = (self.records.len(), self.failed().count());
        let gaps = self.gaps.len();
        write!(out, "  {name:<10} | {swaps:>5} {failed:>7} {gaps:>5} |")?;
        if gaps == 0 {
            return writeln!(out, " nothing to measure");
        }
        let disabled = self.each(|gap| gap.disabled_us);
        let (_, median, worst) = spread(&disabled);
        let high = percentile(&disabled, 95);
        let (_, _, at_most) = spread(&self.each(|gap| gap.at_most_us));
        let (_, not_enabled, _) = spread(&self.each(|gap| gap.not_enabled_us));
        let (_, enabled, _) = spread(&self.each(|gap| gap.enabled_us));
        let (_, returned, _) = spread(&self.each(|gap| gap.returned_us));
        writeln!(
            out,
            " {median:>7.2} {high:>8.2} {worst:>8.2} {at_most:>11.2} | {not_enabled:>11.1} \
             | {returned:>8.1} | {enabled:>7.1}"
        )
    }

    /// How far the gaps that auto-ext announces are from those that were sampled.
    fn reports(&self, out: &mut dyn Write) -> io::Result<()> {
        let all = self.records.iter();
        let differences: Vec<_> = all
            .filter_map(|record| Some(record.gap()?.off_by(record.reported_us?)))
            .map(milliseconds)
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        let (_, median, worst) = spread(&differences);
        let near = differences.iter().filter(|off| **off <= AGREES).count();
        writeln!(
            out,
            "  auto-ext announced {} of its {} gaps; beyond what the sampler cannot tell they are off by {median:.2} ms \
             (median), {:.2} (95th), {worst:.2} (worst), {near} of them by {AGREES} ms at most",
            differences.len(),
            self.gaps.len(),
            percentile(&differences, 95),
        )
    }
}

/// How many times as long the kernel is without a scheduler when scx_loader switches.
fn ratios(out: &mut dyn Write, auto_ext: &Series<'_>, scx_loader: &Series<'_>) -> io::Result<()> {
    if auto_ext.gaps.is_empty() || scx_loader.gaps.is_empty() {
        return Ok(());
    }
    let (_, theirs, _) = spread(&scx_loader.each(|gap| gap.disabled_us));
    let (_, median, worst) = spread(&auto_ext.each(|gap| gap.disabled_us));
    let bound = auto_ext.each(|gap| gap.at_most_us);
    let (_, median_bound, worst_bound) = spread(&bound);
    writeln!(
        out,
        "  scx_loader's median is {} auto-ext's median, {} its worst",
        times(theirs, median, median_bound),
        times(theirs, worst, worst_bound)
    )
}

/// A ratio in words. What was too short to be seen was shorter than `bound`.
fn times(theirs: f64, ours: f64, bound: f64) -> String {
    if ours > 0.0 {
        format!("{:.1} times", theirs / ours)
    } else if bound > 0.0 {
        format!("more than {:.1} times", theirs / bound)
    } else {
        "immeasurably many times".to_owned()
    }
}

/// How well the sampler saw.
fn sampler(out: &mut dyn Write, series: &[&Series<'_>]) -> io::Result<()> {
    let watched = || {
        let all = series.iter().flat_map(|series| &series.records);
        all.map(|record| &record.watched)
    };
    let time: u64 = watched().map(|watched| watched.took_us).sum();
    let readings: u64 = watched().map(|watched| watched.readings).sum();
    let blind = watched().map(|watched| watched.blind_us).max();
    writeln!(
        out,
        "  the state was read every {:.2} ms; at worst there were {:.2} ms between two readings",
        milliseconds(time) / readings.max(1) as f64,
        milliseconds(blind.unwrap_or_default())
    )
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_to_what_was_too_short_to_be_seen_is_a_lower_bound() {
        assert_eq!(times(900.0, 3.0, 4.0), "300.0 times");
        assert_eq!(times(900.0, 0.0, 0.5), "more than 1800.0 times");
    }
}
