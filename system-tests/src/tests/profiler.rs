//! What the profiler's own tests find where BPF programs can be attached. They are programs beside this one.

use anyhow::ensure;

use crate::{load, measured, service};

/// Where the runner puts them.
const PROGRAMS: &str = "/usr/libexec/auto-ext";

/// The test that is left out judges nothing; it prints what following processes costs.
pub(super) fn processes_are_followed() -> anyhow::Result<()> {
    all_pass(&format!("{PROGRAMS}/process-tests --skip what_it_costs"), 9)
}

/// By the kernel's own trace of the same time, as far as an emulated CPU lets two looks at one event agree.
pub(super) fn outcomes_are_what_tasks_waited() -> anyhow::Result<()> {
    all_pass(
        &format!("env AUTO_EXT_OUTCOMES_WITHIN=0.2 {PROGRAMS}/outcome-tests"),
        5,
    )
}

fn all_pass(program: &str, count: usize) -> anyhow::Result<()> {
    let run = service::output(&format!("{program} --test-threads=1"))?;
    let said = String::from_utf8_lossy(&run.stdout);
    ensure!(
        run.status.success() && said.contains(&format!("test result: ok. {count} passed")),
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
