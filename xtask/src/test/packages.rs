//! Owns the step that makes the packages, and installs and removes them in a machine that has never
//! had auto-ext. What holds there is said by the system tests.

use std::time::Duration;

use anyhow::Result;

use super::count::Count;
use super::shown;
use crate::machine::{Kernel, Machine, Role, SYSTEM_TESTS};
use crate::{dist, ebpf, workspace};

/// The step's name.
pub(super) const PACKAGES: &str = "packages";

/// The machine that they are tried in.
pub(super) const ROLE: Role = Role::Newest;

/// How long that may take, under emulation.
const TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// Makes the packages, which compares them with what install.sh installs, and tries them in the
/// machine if there is to be one.
pub(super) fn packages(machine: bool) -> Result<Count> {
    let packages = dist::make()?;
    let mut count = Count::PASSED;
    if machine {
        count += installed(&packages)?;
    }
    Ok(count)
}

fn installed(packages: &dist::Packages) -> Result<Count> {
    ebpf::build_release()?;
    let machine = Machine::new(Kernel::Role(ROLE))
        .timeout(TIMEOUT)
        .bare(true)
        .file(workspace::release("system-tests"), SYSTEM_TESTS)
        .file(&packages.deb, "/root/auto-ext.deb")
        .file(&packages.archive, "/root/auto-ext.tar.gz");
    let mut count = Count::default();
    // A line for each of the machine's boots.
    let mut lines = shown("[packages] ", |line| {
        count += Count::parse(line).unwrap_or_default();
    });
    let command = [SYSTEM_TESTS.to_owned(), "packages".to_owned()];
    let result = machine.run(&command, &mut |bytes| lines.feed(bytes));
    lines.finish()?;
    Ok(count.ended(result?.status == 0))
}
