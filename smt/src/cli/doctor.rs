//! `auto-ext-smt doctor`: what keeps it from observing or placing on this machine, a line each with what can be done about it.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use auto_ext_service::bounded_file::Root;
use auto_ext_service::sanitize::sanitize;

use crate::config::Config;
use crate::core::Act;
use crate::groups::Processes;

use super::client::{is_absent, shown};
use super::look::{ROOT, topology};
use super::missing::{Means, NO_SMT};

/// Programs that move threads or interrupts about by themselves.
const OTHERS: [&str; 4] = ["numad", "irqbalance", "tuned", "ananicy-cpp"];

const PARANOID: &str = "proc/sys/kernel/perf_event_paranoid";
/// Up to this CAP_PERFMON suffices to count others.
const MAX_PARANOID: i32 = 2;
/// How large a name or a number in /proc may be, in bytes.
const MAX_TEXT: usize = 64;

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    /// What keeps it from placing anything.
    wrong: Vec<String>,
    /// What is to be known.
    notes: Vec<String>,
}

/// Prints what is found.
pub(super) fn doctor(config: &Path, out: &mut dyn Write) -> Result<()> {
    let mut findings = Findings::default();
    machine(&mut findings);
    configuration(config, &mut findings);
    match shown() {
        Ok(shown) => findings.notes.push(format!(
            "the service runs; {}: {}",
            sanitize(&shown.mode),
            sanitize(&shown.reason)
        )),
        Err(error) if is_absent(&error) => findings
            .notes
            .push("the service does not run: `systemctl enable --now auto-ext-smt`".to_owned()),
        Err(error) => findings.wrong.push(sanitize(&format!("{error:#}"))),
    }
    others(&mut findings);
    for (kind, lines) in [("no", &findings.wrong), ("--", &findings.notes)] {
        for line in lines {
            writeln!(out, "{kind}  {line}")?;
        }
    }
    match findings.wrong.len() {
        0 => {
            writeln!(out, "ok  groups can be observed and placed here")?;
            Ok(())
        }
        count => bail!("{count} of these keep groups from being placed"),
    }
}

fn machine(findings: &mut Findings) {
    let topology = match topology() {
        Ok(topology) if topology.cores() > 0 => topology,
        Ok(_) => {
            findings.wrong.push(NO_SMT.to_owned());
            return;
        }
        Err(error) => {
            findings.wrong.push(format!("{error:#}"));
            return;
        }
    };
    let cores = topology.cores();
    findings
        .notes
        .push(format!("{cores} cores have hardware threads to share"));
    let means = Means::find(&topology);
    if let Err(why) = &means.pmu {
        findings
            .wrong
            .push(format!("instructions per cycle: unavailable: {why}"));
    }
    findings.wrong.extend(paranoid());
    findings.wrong.extend(means.around.missing());
}

/// What keeps the service from counting that does not keep root from it: kernels of Debian and Ubuntu know a level above those of
/// others, at which CAP_PERFMON is not enough.
fn paranoid() -> Option<String> {
    let level = Root::new(Path::new(ROOT)).text(PARANOID, MAX_TEXT)?;
    let level: i32 = level.trim_ascii().parse().ok()?;
    (level > MAX_PARANOID).then(|| {
        format!(
            "kernel.perf_event_paranoid is {level}, at which the service may not count: \
             `sysctl kernel.perf_event_paranoid={MAX_PARANOID}`, and the same in /etc/sysctl.d"
        )
    })
}

fn configuration(path: &Path, findings: &mut Findings) {
    match Config::read(path) {
        Err(error) => findings.wrong.push(error.to_string()),
        Ok(config) if config.act == Act::Observe => findings.notes.push(format!(
            "nothing is placed: `act` in {} is observe",
            path.display()
        )),
        Ok(_) => {}
    }
}

/// Who else places threads.
fn others(findings: &mut Findings) {
    let root = Root::new(Path::new(ROOT));
    let processes = Processes::read(Path::new(ROOT), 0);
    let names = processes.all.keys().filter_map(|pid| {
        let name = root.text(&format!("proc/{pid}/comm"), MAX_TEXT)?;
        OTHERS.into_iter().find(|other| name.trim_ascii() == *other)
    });
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        findings
            .notes
            .push(format!("{name} runs: what it places is left alone"));
    }
}
