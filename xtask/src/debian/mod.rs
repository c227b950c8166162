//! Owns what is Debian's: which packages the project needs, whether the system has them, and how
//! it gets them. The archive that the test machine is made of is in `archive`, and whole systems to
//! install something in are in `root`.

pub(crate) mod archive;
pub(crate) mod root;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::command::{command, display, found, output, run, say, step};
use crate::{needed, tools};

/// The packages the project needs beside those of packaging/needed, by what needs them.
#[rustfmt::skip]
const PACKAGES: &[(&str, &[&str])] = &[
    ("building",        &["ca-certificates"]),
    ("bpf-linker",      &["g++", "libpolly-LLVM-dev", "libzstd-dev"]),
    ("the schedulers",  &["libseccomp-dev", "protobuf-compiler"]),
    ("the test machine", &["qemu-system-x86", "mmdebstrap", "uidmap", "squashfs-tools", "kmod",
                          "busybox-static", "xz-utils", "debian-archive-keyring"]),
    ("the emulated Arm", &["qemu-system-arm"]),
    ("the tests",       &["shellcheck", "dbus-daemon"]),
    ("the packages",    &["dpkg-dev", "lintian", "rpm", "diffutils"]),
    ("the benchmarks",  &["linux-perf", "bpftool", "fio", "iperf3"]),
];

/// The packages for which an older Debian's backports are worth their trouble: QEMU 10 emulates
/// several CPUs in parallel, which Debian 12's 7.2 cannot do without crashing the guest. All of QEMU is of one version.
const FROM_BACKPORTS: (&str, [&str; 2]) = ("bookworm", ["qemu-system-x86", "qemu-system-arm"]);

/// Installs the packages that are missing. Without the right to do so, says how and fails.
pub(crate) fn ensure_packages() -> Result<()> {
    if !found("dpkg-query") {
        say("not a Debian system: what is missing will be named by the step that needs it");
        return Ok(());
    }
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut apt = command("apt-get");
    apt.args(["install", "--yes", "--no-install-recommends"])
        .args(&missing);
    if !is_root()? {
        bail!(
            "these packages are missing; install them and try again:\n    sudo {}",
            display(&apt)
        );
    }
    step(&format!("installing {}", missing.join(" ")), || {
        install(&missing)
    })
}

/// All packages, with this major version of LLVM.
fn wanted(llvm: &str) -> BTreeSet<String> {
    let needed = ["auto-ext", "bpf-linker", "schedulers"]
        .into_iter()
        .flat_map(|what| needed::packages(what, "apt-get"));
    let others = PACKAGES
        .iter()
        .flat_map(|(_, packages)| packages.iter().copied());
    needed
        .chain(others)
        .map(|package| needed::of_debian(package, llvm))
        .collect()
}

fn missing() -> Result<Vec<String>> {
    let wanted = wanted(&tools::llvm()?);
    // dpkg-query fails if it does not know one of the names, which is no error here.
    let installed = command("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Abbrev} ${Package}\n"])
        .args(&wanted)
        .output()
        .context("cannot run dpkg-query")?;
    let installed = String::from_utf8_lossy(&installed.stdout).into_owned();
    Ok(wanted
        .into_iter()
        .filter(|name| !is_installed(&installed, name))
        .collect())
}

/// Whether `listing` (lines of a status abbreviation and a name) has `name` as installed.
fn is_installed(listing: &str, name: &str) -> bool {
    listing.lines().any(|line| {
        line.split_once(' ')
            .is_some_and(|(status, rest)| status.starts_with("ii") && rest.trim() == name)
    })
}

pub(crate) fn is_root() -> Result<bool> {
    Ok(output(command("id").arg("-u"))?.trim() == "0")
}

fn install(missing: &[String]) -> Result<()> {
    let apt = || {
        let mut apt = command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    run(apt().args(["--quiet", "update"]))?;
    let (old, packages) = FROM_BACKPORTS;
    let newer = missing.iter();
    let newer = newer.filter(|name| packages.contains(&name.as_str()));
    let newer: Vec<String> = newer.cloned().collect();
    let mut rest = missing.to_vec();
    if !newer.is_empty() && codename()? == old {
        match archive::Backports::of(old).and_then(|backports| backports.install(&newer)) {
            Ok(()) => rest.retain(|name| !newer.contains(name)),
            Err(error) => {
                let names = newer.join(" ");
                say(format!("from {old} itself: {names}: {error:#}"));
            }
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    let install = ["--quiet", "install", "--yes", "--no-install-recommends"];
    run(apt().args(install).args(rest))
}

/// This system's release name, such as `bookworm`.
fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.unwrap_or_default().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wholly_installed_package_counts() {
        let listing = "ii  gcc\nrc  make\niU  kmod\n";
        assert!(is_installed(listing, "gcc"));
        assert!(
            !is_installed(listing, "make"),
            "removed, configuration left"
        );
        assert!(!is_installed(listing, "kmod"), "unpacked only");
        assert!(!is_installed(listing, "gc"));
    }

    #[test]
    fn no_package_is_listed_twice() {
        let others: Vec<_> = PACKAGES
            .iter()
            .flat_map(|(_, packages)| *packages)
            .collect();
        let all = wanted("22");
        let needed: BTreeSet<_> = ["auto-ext", "bpf-linker", "schedulers"]
            .into_iter()
            .flat_map(|what| needed::packages(what, "apt-get"))
            .collect();
        assert_eq!(all.len(), needed.len() + others.len());
        for package in ["gcc", "clang-19", "llvm-22-dev", "libpolly-22-dev"] {
            assert!(all.contains(package), "{package}");
        }
    }
}
