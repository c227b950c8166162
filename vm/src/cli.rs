//! The command line: what would be done about a host that somebody describes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use auto_ext_service::exit_code::Code;
use auto_ext_service::sanitize::sanitize;
use auto_ext_vm::action::Action;
use auto_ext_vm::core::explain;
use auto_ext_vm::scenario::{MAX_BYTES, Scenario, parse};
use auto_ext_vm::snapshot::GuestId;
use clap::{Parser, Subcommand};

/// Says which CPUs the vCPUs of virtual machines had better run on, and how much memory each machine. It changes nothing
#[derive(Debug, Parser)]
#[command(name = "auto-ext-vm", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad usage")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what would be done on a host that is made up, window by window, and why
    Plan {
        /// A description of the host, in YAML
        #[arg(long, value_name = "FILE")]
        scenario: PathBuf,
    },
}

/// Runs what the command line says.
pub(crate) fn main() -> ExitCode {
    let Command::Plan { scenario } = Cli::parse().command;
    let mut out = io::stdout().lock();
    match plan(&scenario, &mut out).and_then(|()| out.flush().context("cannot write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = sanitize(&format!("{error:#}"));
            // Where that cannot be said either there is nobody to say it to.
            let _ = writeln!(io::stderr(), "error: {text}");
            ExitCode::from(Code::Failed as u8)
        }
    }
}

fn plan(path: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let read = || parse(&read(path)?).map_err(anyhow::Error::from);
    let scenario = read().with_context(|| path.display().to_string())?;
    show(&scenario, out).context("cannot write")
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        bail!("larger than {MAX_BYTES} bytes");
    }
    Ok(text)
}

/// Each window in which something is done, and how it is in the end.
fn show(scenario: &Scenario, out: &mut dyn Write) -> io::Result<()> {
    let names = scenario.names();
    let name = |guest: &GuestId| sanitize(names.get(guest).map_or("?", String::as_str));
    let mut run = scenario.run();
    writeln!(out, "at the beginning: sigma {:.1}", run.host.sigma())?;
    for window in 1..=scenario.windows() {
        let before = run.actions.len();
        run.step();
        let mut done = String::new();
        for (_, action) in &run.actions[before..] {
            // Writing to a text cannot fail.
            let _ = match action {
                Action::Pin(vcpu, cpus) => {
                    writeln!(done, "  {}/{}: to {cpus:?}", name(&vcpu.guest), vcpu.index)
                }
                Action::Target(guest, target) => {
                    writeln!(done, "  {}: {target:.0} MiB", name(guest))
                }
                Action::Say(notice) => writeln!(done, "  {}", notice.in_words(name)),
                Action::Remember(_) | Action::Period(..) => Ok(()),
            };
        }
        if !done.is_empty() {
            writeln!(
                out,
                "window {window}: {}",
                explain(&run.state, name).lines().next().unwrap_or_default()
            )?;
            out.write_all(done.as_bytes())?;
        }
    }
    writeln!(
        out,
        "at the end: sigma {:.1}, {} lost",
        run.host.sigma(),
        run.host.lost.len()
    )?;
    out.write_all(explain(&run.state, name).as_bytes())
}
