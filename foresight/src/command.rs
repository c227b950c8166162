//! A command that is run meanwhile, such as the load that is recorded.

use std::io;
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// It, until it has ended. Once this is dropped it is asked to.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it: a program with its arguments.
    pub(crate) fn start(program: &str, arguments: &[String]) -> Result<Self> {
        let child = Command::new(program).args(arguments).spawn();
        Ok(Self(
            child.with_context(|| format!("cannot run {program}"))?,
        ))
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(false) = self.has_ended()
            && let Ok(pid) = i32::try_from(self.0.id())
        {
            // It has not been waited for, so that the number is still its own. It may have ended a moment ago.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_by_itself_or_when_nobody_wants_it_any_more() {
        let mut short = Running::start("true", &[]).unwrap();
        while !short.has_ended().unwrap() {
            std::thread::yield_now();
        }
        let long = Running::start("sleep", &["infinity".to_owned()]).unwrap();
        let stat = format!("/proc/{}/stat", long.0.id());
        drop(long);
        // It stays there until this process is gone, as nobody waits for it.
        while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        let Err(error) = Running::start("/no/such", &[]) else {
            panic!("it runs");
        };
        assert_eq!(error.to_string(), "cannot run /no/such");
    }
}
