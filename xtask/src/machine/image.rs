//! Owns the machine's root file system: a small Debian with systemd, D-Bus, polkit, power
//! profiles and the load generators, the same for every run. What a run adds lies over it: see `payload`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::command::{command, display, not_run, run_quietly, step};

/// The Debian release of the root.
pub(crate) const SUITE: &str = "trixie";

/// What the root holds beside the essential packages. No udev: nothing here is plugged in while
/// the machine runs, and its cold start is a large part of a boot under emulation.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "polkitd",
    "power-profiles-daemon",
    "gamemode",
    "kmod",
    "procps",
    "iproute2",
    "util-linux",
    "e2fsprogs",
    "stress-ng",
    "fio",
    "iperf3",
    "tmux",
    // The schedulers' libraries.
    "libelf1t64",
    "zlib1g",
    "libseccomp2",
];

/// What the benchmark of classification runs, in a root of its own.
const PROGRAMS: &[&str] = &[
    "apache2-utils",
    "curl",
    "flac",
    "gcc",
    "libc6-dev",
    "make",
    "nginx-light",
    "openssl",
    "perl",
    "redis-server",
    "redis-tools",
    // hackbench
    "rt-tests",
    "sqlite3",
    "sysbench",
    "xz-utils",
];

/// Which root a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Usual,
    /// With many programs to run as loads.
    WithPrograms,
}

/// What nobody reads there.
const LEFT_OUT: &[&str] = &[
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/locale/*",
];

/// Nothing is compressed: emulated processors are slow to decompress, and the host keeps the file
/// in its page cache.
const UNCOMPRESSED: &[&str] = &["-noI", "-noD", "-noF", "-noX", "-no-progress"];

/// The root's file system, made if the cache does not have it.
pub(crate) fn root(root: Root) -> Result<PathBuf> {
    let mut packages = PACKAGES.to_vec();
    if root == Root::WithPrograms {
        packages.extend(PROGRAMS);
    }
    let recipe = format!("{SUITE}\n{packages:?}\n{LEFT_OUT:?}\n{UNCOMPRESSED:?}");
    let name = format!("machine/root-{}.squashfs", cache::fingerprint(&recipe));
    cache::entry(name, |place| {
        step("making the test machine's root", || make(place, &packages))
    })
}

fn make(place: &Path, packages: &[&str]) -> Result<()> {
    let mut mmdebstrap = command("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=minbase", "--format=tar"]);
    mmdebstrap.arg(format!("--include={}", packages.join(",")));
    mmdebstrap.args(
        LEFT_OUT
            .iter()
            .map(|path| format!("--dpkgopt=path-exclude={path}")),
    );
    mmdebstrap.args([SUITE, "-"]);
    mmdebstrap.arg(crate::debian::archive::mirror()?);
    let mut sqfstar = command("sqfstar");
    sqfstar.args(UNCOMPRESSED).arg(place);
    pipe(&mut mmdebstrap, &mut sqfstar)
}

/// Runs `first | second`, where either failing is an error.
fn pipe(first: &mut Command, second: &mut Command) -> Result<()> {
    let mut source = first
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| not_run(first))?;
    let stdout = source.stdout.take().context("a pipe that is not there")?;
    let sink = second
        .stdin(stdout)
        .output()
        .with_context(|| not_run(second))?;
    let source = source.wait()?;
    if !source.success() {
        bail!(
            "`{}` failed ({source}); its output above says why",
            display(first)
        );
    }
    if !sink.status.success() {
        let said = String::from_utf8_lossy(&sink.stderr);
        bail!("`{}` failed ({}):\n{said}", display(second), sink.status);
    }
    Ok(())
}

/// Makes a file system of `tree`, with root as the owner of everything.
pub(crate) fn squash(tree: &Path, place: &Path) -> Result<()> {
    run_quietly(
        command("mksquashfs")
            .args([tree, place])
            .args(UNCOMPRESSED)
            .args(["-noappend", "-all-root", "-quiet"]),
    )
}
