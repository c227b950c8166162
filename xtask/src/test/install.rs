//! Owns the steps that try install.sh itself, from its sources and from a release, and the Debian
//! package, on clean Debian systems without a kernel and without systemd running. How the service
//! behaves once it is installed is for the system tests.
//!
//! They take a quarter of an hour each and the network, and so are run only when asked for.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::count::Count;
use crate::command::{command, output};
use crate::debian::root::{Listing, Root, compare};
use crate::said::{self, To};
use crate::{dist, workspace};

/// A release to try it on.
pub(super) struct Release {
    /// The step's name.
    pub(super) step: &'static str,
    suite: &'static str,
    /// For `--schedulers`.
    schedulers: &'static str,
}

/// The oldest release that has what the schedulers are built with, and the newest.
pub(super) const RELEASES: &[Release] = &[
    Release {
        step: "install.sh on Debian 12",
        suite: "bookworm",
        schedulers: "none",
    },
    Release {
        step: "install.sh on Debian 13",
        suite: "trixie",
        schedulers: "cosmos",
    },
];

/// Where the sources, and a release that is unpacked, are there.
const SOURCES: &str = "/root/sources";
const POLICY: &str = "/etc/auto-ext/policies.yaml";

/// A clean system in which one thing after the other is tried.
struct Trial<'a> {
    release: &'a Release,
    root: Root,
    /// The directory of the release that is unpacked, without a toolchain in sight.
    unpacked: String,
    /// What there was before.
    before: Listing,
}

type Check = (&'static str, fn(&Trial<'_>) -> Result<()>);

/// In this order: each leaves what the next one finds.
const CHECKS: &[Check] = &[
    (
        "without_a_toolchain_the_sources_say_how_to_get_one",
        without_a_toolchain_the_sources_say_how_to_get_one,
    ),
    ("a_release_installs_what_runs", a_release_installs_what_runs),
    (
        "an_edited_policy_outlives_an_upgrade",
        an_edited_policy_outlives_an_upgrade,
    ),
    (
        "uninstalling_keeps_the_policy_and_purging_nothing",
        uninstalling_keeps_the_policy_and_purging_nothing,
    ),
    (
        "the_deb_installs_what_runs_and_is_purged_without_a_trace",
        the_deb_installs_what_runs_and_is_purged_without_a_trace,
    ),
    (
        "the_sources_are_built_with_what_apt_has",
        the_sources_are_built_with_what_apt_has,
    ),
    (
        "what_was_built_is_uninstalled_without_a_trace",
        what_was_built_is_uninstalled_without_a_trace,
    ),
];

/// Tries everything on one release, until something fails: what would come after it has failed too.
pub(super) fn install(release: &Release) -> Result<Count> {
    let packages = dist::optimised()?;
    let root = Root::unpack(release.suite)?;
    copy_sources(&root)?;
    fs::copy(&packages.deb, root.path("/root/auto-ext.deb"))?;
    fs::copy(&packages.archive, root.path("/root/auto-ext.tar.gz"))?;
    let unpacked = root.say("tar --extract --file auto-ext.tar.gz && echo /root/auto-ext-*/")?;
    let before = root.listing()?;
    let trial = Trial {
        release,
        root,
        unpacked,
        before,
    };
    let prefix = format!("[{}] ", release.suite);
    let mut count = Count::default();
    for (name, check) in CHECKS {
        let result = if count.failed > 0 {
            Err(anyhow::anyhow!("not tried, as something before it failed"))
        } else {
            check(&trial)
        };
        match result {
            Ok(()) => {
                count += Count::PASSED;
                said::line(To::Output, &prefix, &format!("{name} ... ok"))?;
            }
            Err(error) => {
                count += Count::FAILED;
                said::line(
                    To::Output,
                    &prefix,
                    &format!("{name} ... FAILED: {error:#}"),
                )?;
            }
        }
    }
    Ok(count)
}

/// The files that git knows of or would: what somebody who cloned the repository has.
fn copy_sources(root: &Root) -> Result<()> {
    let mut git = command("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let files = output(git.current_dir(workspace::root()))?;
    for file in files.split_terminator('\0') {
        let from = workspace::root().join(file);
        // Removed since the last commit.
        if !from.exists() {
            continue;
        }
        let to = root.path(&format!("{SOURCES}/{file}"));
        fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn without_a_toolchain_the_sources_say_how_to_get_one(trial: &Trial<'_>) -> Result<()> {
    let output = trial.root.output(&format!("{SOURCES}/install.sh"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.code() == Some(1)
            && said.contains("install your distribution's package 'rustup'"),
        "{}: {said}",
        output.status
    );
    compare(&trial.before, &trial.root.listing()?)
}

fn a_release_installs_what_runs(trial: &Trial<'_>) -> Result<()> {
    let said = trial.install_release("")?;
    ensure!(said.contains("auto-ext is installed."), "{said}");
    trial.it_runs()?;
    let first = trial.root.listing()?;
    trial.install_release("")?;
    compare(&first, &trial.root.listing()?).context("installing again is to change nothing")
}

fn an_edited_policy_outlives_an_upgrade(trial: &Trial<'_>) -> Result<()> {
    let root = &trial.root;
    let ours = "# edited\n".to_owned() + &fs::read_to_string(root.path(POLICY))?;
    fs::write(root.path(POLICY), &ours)?;
    // As the next version may ship it.
    let shipped = root.path(&format!("{}/policies.yaml", trial.unpacked));
    let next = fs::read_to_string(&shipped)? + "# of the next version\n";
    fs::write(&shipped, &next)?;
    let said = trial.install_release("")?;
    ensure!(said.contains(&format!("Kept your {POLICY}")), "{said}");
    ensure!(fs::read_to_string(root.path(POLICY))? == ours);
    let beside = root.path(&format!("{POLICY}.new"));
    ensure!(fs::read_to_string(&beside)?.ends_with("# of the next version\n"));
    let first = root.listing()?;
    trial.install_release("")?;
    compare(&first, &root.listing()?).context("installing again is to change nothing")?;
    // One that is not edited becomes the next version's.
    fs::copy(
        root.path("/usr/share/auto-ext/policies.yaml"),
        root.path(POLICY),
    )?;
    trial.install_release("")?;
    ensure!(!beside.exists(), "nothing is left to be compared");
    trial.it_runs()
}

fn uninstalling_keeps_the_policy_and_purging_nothing(trial: &Trial<'_>) -> Result<()> {
    let root = &trial.root;
    trial.install_release("--uninstall")?;
    ensure!(root.path(POLICY).exists(), "{POLICY} is gone");
    ensure!(!root.path("/usr/bin/auto-ext").exists());
    trial.install_release("--uninstall --purge")?;
    compare(&trial.before, &root.listing()?)?;
    trial.install_release("")?;
    trial.install_release("--uninstall --purge")?;
    compare(&trial.before, &root.listing()?)
}

fn the_deb_installs_what_runs_and_is_purged_without_a_trace(trial: &Trial<'_>) -> Result<()> {
    let apt = "DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes --no-install-recommends";
    trial
        .root
        .say(&format!("{apt} install /root/auto-ext.deb"))?;
    trial.it_runs()?;
    trial.root.say(&format!("{apt} purge auto-ext"))?;
    compare(&trial.before, &trial.root.listing()?)
}

fn the_sources_are_built_with_what_apt_has(trial: &Trial<'_>) -> Result<()> {
    let schedulers = trial.release.schedulers;
    let said = trial.install_sources(&format!("--schedulers {schedulers}"))?;
    ensure!(said.contains("auto-ext is installed."), "{said}");
    trial.it_runs()?;
    for scheduler in trial.schedulers() {
        trial.root.say(&format!("{scheduler} --version"))?;
    }
    let first = trial.root.listing()?;
    trial.install_sources(&format!("--schedulers {schedulers}"))?;
    compare(&first, &trial.root.listing()?).context("installing again is to change nothing")
}

fn what_was_built_is_uninstalled_without_a_trace(trial: &Trial<'_>) -> Result<()> {
    trial.install_sources("--uninstall --purge")?;
    let after = trial.root.listing()?;
    // What apt installed to build it stays, so that there is nothing to compare with.
    let ours = ["auto-ext", "autoext", "scx_"];
    let left: Vec<_> = after
        .keys()
        .filter(|path| ours.iter().any(|name| path.contains(name)))
        .collect();
    ensure!(left.is_empty(), "left: {left:?}");
    trial.install_sources("--schedulers none")?;
    trial.install_sources("--uninstall --purge")?;
    compare(&after, &trial.root.listing()?)
}

impl Trial<'_> {
    fn install_release(&self, options: &str) -> Result<String> {
        self.root
            .say(&format!("{}/install.sh {options}", self.unpacked))
    }

    fn install_sources(&self, options: &str) -> Result<String> {
        self.root
            .say_with_toolchain(&format!("{SOURCES}/install.sh {options}"))
    }

    /// The programs of the schedulers that are to be installed.
    fn schedulers(&self) -> Vec<String> {
        let names = self
            .release
            .schedulers
            .split(',')
            .filter(|name| *name != "none");
        names.map(|name| format!("scx_{name}")).collect()
    }

    /// As far as it can without a kernel of its own.
    fn it_runs(&self) -> Result<()> {
        self.root.say("auto-ext --version")?;
        self.root.say("auto-ext check").map(drop)
    }
}
