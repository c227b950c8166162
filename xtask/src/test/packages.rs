//! Owns the step that makes the packages, judges them here, and installs and removes them in a machine
//! that has never had auto-ext. What holds there is said by the system tests.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::count::Count;
use super::{owned, rpm, shown};
use crate::command::{command, run};
use crate::machine::{Kernel, Machine, Role, SYSTEM_TESTS};
use crate::said::{self, To};
use crate::{dist, ebpf, workspace};

/// The step's name.
pub(super) const PACKAGES: &str = "packages";

/// The machine that they are tried in.
pub(super) const ROLE: Role = Role::Newest;

/// How long that may take, under emulation.
const TIMEOUT: Duration = Duration::from_secs(20 * 60);

type Check = (&'static str, fn(&dist::Packages) -> Result<()>);

/// What needs no machine.
const CHECKS: &[Check] = &[
    ("lintian_finds_no_error_in_the_deb", |packages| {
        lintian(&packages.deb)
    }),
    ("lintian_finds_no_error_in_the_deb_of_smt", |packages| {
        lintian(&packages.smt.deb)
    }),
    ("lintian_finds_no_error_in_the_deb_of_vm", |packages| {
        lintian(&packages.vm.deb)
    }),
    (
        "lintian_finds_no_error_in_the_deb_of_foresight",
        |packages| lintian(&packages.foresight.deb),
    ),
    (
        "the_rpm_is_installed_upgraded_and_erased",
        rpm::is_installed_upgraded_and_erased,
    ),
    (
        "install_sh_leaves_what_a_package_owns",
        owned::install_sh_leaves_what_a_package_owns,
    ),
];

/// Makes the packages, which compares them with what install.sh installs, checks them, and tries them in
/// the machine if there is to be one.
pub(super) fn packages(machine: bool) -> Result<Count> {
    // Of what the machine's other tests run: how a program was optimised makes no difference to its packages.
    ebpf::build_release()?;
    let packages = dist::make(workspace::release)?;
    let mut count = Count::PASSED;
    for (name, check) in CHECKS {
        let result = check(&packages);
        match result {
            Ok(()) => {
                count += Count::PASSED;
                said::line(To::Output, "[packages] ", &format!("{name} ... ok"))?;
            }
            Err(error) => {
                count += Count::FAILED;
                said::line(
                    To::Output,
                    "[packages] ",
                    &format!("{name} ... FAILED: {error:#}"),
                )?;
            }
        }
    }
    if machine {
        count += installed(&packages)?;
    }
    Ok(count)
}

/// As Debian's own packages are judged. What is no error is shown.
fn lintian(deb: &Path) -> Result<()> {
    let mut lintian = command("lintian");
    lintian.args(["--profile", "debian", "--fail-on", "error", "--allow-root"]);
    // It is there for packages that enter Debian's archive, where somebody filed a request for them.
    lintian.args(["--suppress-tags", "initial-upload-closes-no-bugs"]);
    run(lintian.arg(deb))
}

fn installed(packages: &dist::Packages) -> Result<Count> {
    let machine = Machine::new(Kernel::Role(ROLE))
        .called(PACKAGES)
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
