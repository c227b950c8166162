//! A terminal without a person: tmux holds a shell in it, keys are sent to it, and what is on its
//! screen can be asked for.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::wait::HANG;

const SERVER: &str = "auto-ext-system-tests";
const LOOK: Duration = Duration::from_millis(250);

/// A terminal with a shell in it, which ends when this is dropped.
pub(crate) struct Terminal;

impl Terminal {
    /// A terminal of that size; the shell's prompt is `ready$`.
    pub(crate) fn open(width: u16, height: u16) -> anyhow::Result<Self> {
        // One that a failed test left behind.
        drop(tmux(&["kill-server"]));
        let (width, height) = (width.to_string(), height.to_string());
        tmux(&[
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            "env LANG=C.UTF-8 PS1=ready$ sh",
        ])?;
        let terminal = Self;
        tmux(&["set-option", "-g", "status", "off"])?;
        terminal.resize(&width, &height)?;
        terminal.wait_for("ready$")?;
        Ok(terminal)
    }

    /// Changes its size, as a person does with a window.
    pub(crate) fn resize(&self, width: &str, height: &str) -> anyhow::Result<()> {
        tmux(&["resize-window", "-x", width, "-y", height]).map(drop)
    }

    /// Types a line.
    pub(crate) fn line(&self, line: &str) -> anyhow::Result<()> {
        tmux(&["send-keys", "-l", line])?;
        self.key("Enter")
    }

    /// Presses a key, by tmux's name for it.
    pub(crate) fn key(&self, key: &str) -> anyhow::Result<()> {
        tmux(&["send-keys", key]).map(drop)
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> anyhow::Result<String> {
        tmux(&["capture-pane", "-p"])
    }

    /// What is on the screen, with the escape sequences that make it look as it does.
    pub(crate) fn screen_with_colours(&self) -> anyhow::Result<String> {
        tmux(&["capture-pane", "-p", "-e", "-N"])
    }

    /// Waits until `text` is on the screen, and returns the screen.
    pub(crate) fn wait_for(&self, text: &str) -> anyhow::Result<String> {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen is as it should be, and returns it.
    pub(crate) fn wait_until(
        &self,
        what: &str,
        is: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let start = Instant::now();
        loop {
            let screen = self.screen()?;
            if is(&screen) {
                return Ok(screen);
            }
            if start.elapsed() > HANG {
                bail!("{what}: not on the screen after {HANG:?}:\n{screen}");
            }
            sleep(LOOK);
        }
    }

    /// Fails unless the terminal is as a shell wants it: its own screen, a cursor, lines that are
    /// edited and echoed.
    pub(crate) fn is_sane(&self) -> anyhow::Result<()> {
        self.wait_for("ready$")?;
        let flags = tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
        ensure!(flags.trim() == "0 1", "alternate screen, cursor: {flags}");
        let tty = tmux(&["display-message", "-p", "#{pane_tty}"])?;
        let modes = Command::new("stty")
            .args(["-a", "-F", tty.trim()])
            .output()?;
        let modes = String::from_utf8_lossy(&modes.stdout).into_owned();
        // The shell edits lines itself as long as nothing runs, but for the simplest ones.
        for mode in [" icanon", " echo", " isig", " opost", " icrnl"] {
            ensure!(
                modes.replace('\n', " ").contains(mode),
                "not{mode}: {modes}"
            );
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The machine ends anyway.
        drop(tmux(&["kill-server"]));
    }
}

fn tmux(words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("tmux")
        .args(["-L", SERVER])
        .args(words)
        .env("LANG", "C.UTF-8")
        .output()
        .context("failed to run tmux")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tmux {words:?}: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
