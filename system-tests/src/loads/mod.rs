//! The labelled loads: many programs of others, and programs of our own that imitate those which matter and cannot be
//! installed in a test, such as games and video calls. `table.rs` says what each is and why.
//!
//! `system-tests load NAME` is one of our own until it is killed. What it works is measured in CPU time, and the
//! number of its threads follows that of the CPUs, so that it is the same share of any machine.

mod build;
mod computing;
mod cpus;
mod files;
mod interactive;
mod io_uring;
mod limited;
mod servers;
mod table;
mod woken;
pub(crate) mod work;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

pub(crate) use files::{directory_of_files, directory_on_disk};
pub(crate) use table::ALL;
pub(crate) use woken::WokenBesideHogs;

/// The exit code of a load that cannot be on this machine, as test harnesses have it.
const NOT_POSSIBLE: u8 = 77;

/// A load with its label.
pub(crate) struct Labelled {
    pub(crate) name: &'static str,
    /// The class of the shipped policy that it is; `stable` if it is any one, but that all of the time.
    pub(crate) class: &'static str,
    /// Why that is the right one.
    pub(crate) why: &'static str,
    pub(crate) runs: Runs,
}

/// What a load is made of.
pub(crate) enum Runs {
    /// Programs of others. The lines are for the shell, with `$N` the number of CPUs, `$SELF` this program, `$SCRATCH` a
    /// directory on a disk, and `$FILES` one for other files; what is to be run when the load is over is in `$FILES/tidy`.
    Others {
        /// What must be installed, separated by spaces.
        programs: &'static str,
        /// What it needs before, if anything.
        prepare: &'static str,
        command: &'static str,
    },
    /// This program: `system-tests load NAME`.
    Own {
        /// Makes ready what is not part of the load.
        prepare: fn() -> anyhow::Result<()>,
        /// Starts its threads.
        run: fn() -> anyhow::Result<()>,
    },
}

/// Why a load cannot be on this machine.
#[derive(Debug)]
pub(crate) struct NotPossible(String);

impl NotPossible {
    pub(crate) fn because(reason: impl Into<String>) -> anyhow::Error {
        Self(reason.into()).into()
    }
}

impl std::error::Error for NotPossible {}

impl std::fmt::Display for NotPossible {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "not possible here: {}", self.0)
    }
}

impl Labelled {
    /// The load of that name.
    pub(crate) fn find(name: &str) -> anyhow::Result<&'static Self> {
        let load = ALL.iter().find(|load| load.name == name);
        load.with_context(|| format!("there is no load `{name}`"))
    }

    /// Makes ready what it needs.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        match self.runs {
            Runs::Own { prepare, .. } => prepare(),
            Runs::Others {
                programs, prepare, ..
            } => prepare_for(programs, prepare),
        }
    }

    /// The command that is the load.
    pub(crate) fn command(&self) -> anyhow::Result<Command> {
        let command = match self.runs {
            Runs::Own { .. } => {
                let mut command = Command::new(env::current_exe()?);
                command.args(["load", self.name]);
                command
            }
            Runs::Others { command: line, .. } => shell(line)?,
        };
        Ok(command)
    }

    /// Whether that program of others is a part of it.
    pub(crate) fn has(&self, program: &str) -> bool {
        match self.runs {
            Runs::Own { .. } => false,
            Runs::Others { programs, .. } => programs.split_whitespace().any(|has| has == program),
        }
    }
}

/// Makes ready what a line for the shell needs: these programs, and what this line makes.
pub(crate) fn prepare_for(programs: &str, prepare: &str) -> anyhow::Result<()> {
    if let Some(missing) = programs.split_whitespace().find(|name| !installed(name)) {
        return Err(NotPossible::because(format!("{missing} is not installed")));
    }
    run_line(prepare)
}

/// Ends what a load has left when it is over: cgroups, servers.
pub(crate) fn tidy() -> anyhow::Result<()> {
    limited::remove()?;
    let lines = directory_of_files().join("tidy");
    if lines.exists() {
        run_line("sh $FILES/tidy > /dev/null; rm $FILES/tidy")?;
    }
    Ok(())
}

/// Is a load of our own until this is killed.
pub(crate) fn be(words: &[&str]) -> ExitCode {
    let error = match run(words) {
        Ok(()) => work::forever(),
        Err(error) => error,
    };
    eprintln!("load: {error:#}");
    if error.is::<NotPossible>() {
        ExitCode::from(NOT_POSSIBLE)
    } else {
        ExitCode::FAILURE
    }
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    match words {
        ["compiler", object] => {
            build::compile(object)?;
            std::process::exit(0)
        }
        [name] => match Labelled::find(name)?.runs {
            Runs::Own { prepare, run } => {
                prepare()?;
                run()
            }
            Runs::Others { .. } => bail!("`{name}` is a load of others' programs"),
        },
        _ => bail!("the name of a load is wanted"),
    }
}

fn installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| Path::new(&directory).join(program).is_file())
}

/// The variables that lines for the shell may name.
pub(crate) fn variables() -> anyhow::Result<[(&'static str, OsString); 4]> {
    Ok([
        ("SELF", env::current_exe()?.into()),
        ("N", work::cpus().to_string().into()),
        (files::SCRATCH, directory_on_disk().into()),
        (files::FILES, directory_of_files().into()),
    ])
}

fn shell(line: &str) -> anyhow::Result<Command> {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).envs(variables()?);
    Ok(shell)
}

fn run_line(line: &str) -> anyhow::Result<()> {
    let output = shell(line)?.output()?;
    ensure!(
        output.status.success(),
        "`{line}`: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
