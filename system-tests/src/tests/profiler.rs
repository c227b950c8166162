//! What the profiler's own tests find where BPF programs can be attached. They are a program beside this one.

use anyhow::ensure;

use crate::{load, measured, service};

/// Where the runner puts it.
const PROGRAM: &str = "/usr/libexec/auto-ext/process-tests";

/// The test that is left out judges nothing; it prints what following processes costs.
pub(super) fn processes_are_followed() -> anyhow::Result<()> {
    let run = service::output(&format!("{PROGRAM} --test-threads=1 --skip what_it_costs"))?;
    let said = String::from_utf8_lossy(&run.stdout);
    ensure!(
        run.status.success() && said.contains("test result: ok. 8 passed"),
        "{}: {said}{}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(())
}

pub(super) fn what_is_measured_is_what_the_kernel_counts() -> anyhow::Result<()> {
    service::stop()?;
    let _server = load::prepare()?;
    measured::run(true)
}
