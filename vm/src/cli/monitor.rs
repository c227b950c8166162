//! `auto-ext-vm monitor`: what guests do, window by window. It changes nothing.

use std::io::Write;
use std::path::Path;

use crate::config;
use crate::host::Host as _;
use crate::monitor::Iteration;
use anyhow::Context as _;

use super::look::Look;
use super::ticks::{Tick, Ticks};
use super::words::complain;

/// Shows each window, until it is told to end.
pub(super) fn monitor(look: &Look, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut ticks = Ticks::begin(look.interval()).context("cannot wait for signals")?;
    let mut host = look.host(Path::new(config::PATH))?;
    let mut before = Some((host.snapshot()?, host.now()));
    let mut number = 0;
    while ticks.wait()? == Tick::Window {
        let after = match host.snapshot() {
            Ok(after) => after,
            Err(error) => {
                complain(&error);
                before = None;
                continue;
            }
        };
        let now = host.now();
        if let Some((before, at)) = before {
            number += 1;
            let iteration = Iteration::new(number, &before, &after, now.saturating_sub(at));
            write!(out, "{iteration}")
                .and_then(|()| out.flush())
                .context("cannot write")?;
        }
        before = Some((after, now));
    }
    Ok(())
}
