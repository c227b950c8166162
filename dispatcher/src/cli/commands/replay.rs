//! `auto-ext replay`: what a policy would have done about what was recorded.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use auto_ext_service::sanitize::sanitize;

use crate::sources::read_policy;
use crate::trace::replay::{Change, LOAD_TIME, Replay, Summary};
use crate::trace::{Header, Reader};

/// Prints a line per change, and the sums. What is wrong with the trace or the policy is printed on standard error, as
/// `FILE:LINE: error: ...`.
pub(crate) fn run(trace: &Path, policy: &Path) -> anyhow::Result<ExitCode> {
    let policy = match read_policy::load(policy) {
        Ok(policy) => policy,
        Err(error) => return failed(&error),
    };
    let mut reader = match Reader::open(trace) {
        Ok(reader) => reader,
        Err(error) => return failed(&error),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    begin(&mut out, reader.header())?;
    let mut replay = Replay::new(&policy);
    for entry in &mut reader {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                out.flush()?;
                return failed(&error);
            }
        };
        for change in replay.apply(entry) {
            line(&mut out, &change)?;
        }
    }
    end(&mut out, replay.summary())?;
    out.flush()?;
    if let Some(line) = reader.cut_off() {
        let trace = trace.display();
        writeln!(
            io::stderr(),
            "{trace}:{line}: warning: the line breaks off and was left out"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &dyn std::error::Error) -> anyhow::Result<ExitCode> {
    writeln!(io::stderr(), "{error}")?;
    Ok(ExitCode::FAILURE)
}

fn begin(out: &mut impl Write, header: &Header) -> io::Result<()> {
    let Header {
        version,
        kernel,
        cpus,
        label,
        ..
    } = header;
    let label = sanitize(label.as_deref().unwrap_or("a trace without a label"));
    let (kernel, version) = (sanitize(kernel), sanitize(version));
    writeln!(
        out,
        "{label}: Linux {kernel}, {cpus} CPUs, recorded by auto-ext {version}"
    )?;
    let load = humantime::format_duration(LOAD_TIME);
    writeln!(
        out,
        "as if every scheduler of the policy were installed and took {load} to load\n"
    )?;
    writeln!(
        out,
        "{:>11}  {:<12} {:<29} because",
        "time", "class", "runs"
    )
}

fn line(out: &mut impl Write, change: &Change) -> io::Result<()> {
    let Change {
        at,
        class,
        runs,
        desired,
        reason,
    } = change;
    let runs = if runs == desired {
        runs.to_string()
    } else {
        format!("{runs} -> {desired}")
    };
    // The names of processes come from the trace.
    let reason = sanitize(reason);
    writeln!(out, "{:>11}  {class:<12} {runs:<29} {reason}", clock(*at))
}

fn end(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let Summary {
        time,
        windows,
        classes,
        schedulers,
        switches,
        cancelled,
    } = summary;
    writeln!(out, "\ntime       {} in {windows} windows", clock(*time))?;
    writeln!(out, "switches   {switches}, and {cancelled} cancelled")?;
    writeln!(out, "class      {}", shares(classes, *time))?;
    writeln!(out, "scheduler  {}", shares(schedulers, *time))
}

/// `kernel 93.1 %, bpfland 6.9 %`: the greatest first.
pub(crate) fn shares(times: &BTreeMap<String, Duration>, whole: Duration) -> String {
    let mut times: Vec<_> = times.iter().collect();
    times.sort_by_key(|(_, time)| std::cmp::Reverse(**time));
    let share = |(name, time): (&String, &Duration)| {
        let percent = 100.0 * time.div_duration_f64(whole);
        format!("{name} {percent:.1} %")
    };
    times.into_iter().map(share).collect::<Vec<_>>().join(", ")
}

/// `1:02:03.250`: hours, minutes, seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        time.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use auto_ext_policy::Candidate;

    use super::*;

    #[test]
    fn times_are_hours_minutes_seconds_and_milliseconds() {
        assert_eq!(clock(Duration::from_micros(250_900)), "0:00:00.250");
        assert_eq!(clock(Duration::from_secs(3600 + 2 * 60 + 3)), "1:02:03.000");
    }

    #[test]
    fn what_a_trace_has_does_not_steer_a_terminal() {
        let change = Change {
            at: Duration::ZERO,
            class: "game".into(),
            runs: Candidate::Kernel,
            desired: Candidate::Kernel,
            reason: "class game (process a\u{202e}b)".into(),
        };
        let mut out = Vec::new();
        line(&mut out, &change).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("(process a\u{fffd}b)\n"), "{text:?}");
    }

    #[test]
    fn shares_are_of_the_whole_and_the_greatest_comes_first() {
        let times = [("idle", 1), ("cpu", 3)]
            .map(|(name, seconds)| (name.to_owned(), Duration::from_secs(seconds)));
        let shares = shares(&times.into(), Duration::from_secs(4));
        assert_eq!(shares, "cpu 75.0 %, idle 25.0 %");
    }
}
