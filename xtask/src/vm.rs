//! The subcommand `vm`: the test machine for a person.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::command::say;
use crate::machine::{Kernel, Machine};
use crate::topology::Topology;
use crate::{debian, tools};

/// What `vm` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kernel: newest, oldest, refusing (no scheduler loads there) or a version
    #[arg(long, default_value = "newest")]
    kernel: Kernel,
    /// How many CPUs it has
    #[arg(long, default_value_t = 4)]
    cpus: u32,
    /// On what they are instead, such as sockets=2,cores=2; each socket has a last-level cache of its own
    #[arg(long, conflicts_with = "cpus")]
    topology: Option<Topology>,
    /// How much memory it has
    #[arg(long, default_value = "2G")]
    memory: String,
    /// How many seconds it has to boot and run the command
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
    /// More on the kernel's command line, such as psi=0
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Leave out auto-ext and its tests; the schedulers are there
    #[arg(long)]
    bare: bool,
    /// With an auto-ext that prints on stderr, as a service into the journal, what its BPF programs say
    #[arg(long, conflicts_with = "bare")]
    bpf_log: bool,
    /// A file of this machine and where it is to be in that one; can be given several times
    #[arg(long, value_name = "FROM:TO", value_parser = from_to)]
    file: Vec<(PathBuf, String)>,
    /// What to run as root: one word is a line for the shell, more are a program and its
    /// arguments; none is a shell on this terminal
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs the command or the shell; the command's exit status becomes ours.
pub(crate) fn vm(arguments: &Arguments) -> Result<ExitCode> {
    debian::ensure_packages()?;
    tools::ensure_components()?;
    let topology = arguments.topology.unwrap_or(Topology::of(arguments.cpus));
    let mut machine = Machine::new(arguments.kernel.clone())
        .cpus(topology.cpus())
        .sockets(topology.sockets)
        .threads(topology.threads)
        .memory(arguments.memory.as_str())
        .append(arguments.append.as_str())
        .timeout(Duration::from_secs(arguments.timeout))
        .bare(arguments.bare)
        .bpf_log(arguments.bpf_log);
    for (from, to) in &arguments.file {
        machine = machine.file(from, to);
    }
    if arguments.command.is_empty() {
        machine.shell()?;
        return Ok(ExitCode::SUCCESS);
    }
    let exit = machine.run_on_stdout(&arguments.command)?;
    let (status, seconds) = (exit.status, exit.ran.as_secs_f64());
    say(format!(
        "the command ended with status {status} after {seconds:.1} s"
    ));
    Ok(ExitCode::from(status))
}

fn from_to(text: &str) -> Result<(PathBuf, String)> {
    let (from, to) = text.rsplit_once(':').context("expected FROM:TO")?;
    Ok((from.into(), to.to_owned()))
}
