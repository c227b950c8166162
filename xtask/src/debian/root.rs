//! Owns clean Debian systems without a kernel, in which something can be installed and removed while
//! this one stays as it is. Each is made once for the cache and unpacked for every use. Only root can
//! enter them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::archive;
use crate::cache;
use crate::command::{command, not_run, output, run_quietly, step};

/// What they hold beside the essential packages: what cargo needs to download anything.
const PACKAGES: &str = "ca-certificates";

/// Where the toolchain that runs this program is to be found there.
const TOOLCHAIN: &str = "/opt/rust";

/// Where the directory of cargo's downloads is to be found there.
const REGISTRY: &str = "/root/.cargo/registry";

/// The certificates that this machine's administrator added.
const CERTIFICATES: &str = "usr/local/share/ca-certificates";

/// How this machine reaches the network.
const NETWORK: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// Left out of listings: what is not in files, what package managers keep for themselves, logs, and
/// the home of whoever installs, with the sources and cargo's downloads.
const OTHERS: &[&str] = &[
    "/dev",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/log",
    "/var/tmp",
    TOOLCHAIN,
];

/// Mounts what belongs to every system and what is lent to this one, and enters it. In a mount
/// namespace of its own: all of it ends with the command.
const ENTER: &str = r#"
set -e
root=$1 toolchain=$2 registry=$3
shift 3
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$registry" "$root/root/.cargo/registry"
mount --bind "$toolchain" "$root/opt/rust"
mount -o remount,bind,ro "$root/opt/rust"
exec chroot "$root" "$@"
"#;

/// What each file and directory of a system is: its mode, and of a file size and time of change.
pub(crate) type Listing = BTreeMap<String, String>;

/// A system that nobody else uses, and that is forgotten when this is dropped.
pub(crate) struct Root {
    directory: tempfile::TempDir,
    toolchain: PathBuf,
    registry: PathBuf,
}

impl Root {
    /// The Debian release `suite`, as it is installed.
    pub(crate) fn unpack(suite: &str) -> Result<Self> {
        ensure!(
            super::is_root()?,
            "a clean Debian {suite} can only be entered by root"
        );
        let archive = archive_with(suite, PACKAGES)?;
        let directory = tempfile::tempdir_in(cache::directory()?).context("no place to unpack")?;
        run_quietly(
            command("tar")
                .args(["--extract", "--numeric-owner", "--file"])
                .arg(&archive)
                .arg("--directory")
                .arg(directory.path()),
        )?;
        let sysroot = output(command("rustc").args(["--print", "sysroot"]))?;
        let home = std::env::var_os("CARGO_HOME").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
            PathBuf::from,
        );
        let root = Self {
            directory,
            toolchain: sysroot.trim().into(),
            registry: home.join("registry"),
        };
        fs::create_dir_all(root.path(REGISTRY))?;
        fs::create_dir_all(root.path(TOOLCHAIN))?;
        fs::copy("/etc/resolv.conf", root.path("/etc/resolv.conf"))
            .context("cannot copy /etc/resolv.conf")?;
        root.trust_what_is_trusted_here()?;
        Ok(root)
    }

    fn trust_what_is_trusted_here(&self) -> Result<()> {
        let added = fs::read_dir(Path::new("/").join(CERTIFICATES));
        for certificate in added.into_iter().flatten() {
            let path = certificate?.path();
            if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                fs::copy(&path, self.directory.path().join(CERTIFICATES).join(name))?;
            }
        }
        self.say("update-ca-certificates").map(drop)
    }

    /// Where `path` of the system is here.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    /// Runs a line of the shell as root of the system, without a Rust toolchain. Both outputs come
    /// together.
    pub(crate) fn output(&self, line: &str) -> Result<Output> {
        self.run(line, "")
    }

    /// Runs a line that must succeed, and returns what it says.
    pub(crate) fn say(&self, line: &str) -> Result<String> {
        said(line, &self.output(line)?)
    }

    /// As [`Root::say`], with this machine's Rust toolchain in PATH.
    pub(crate) fn say_with_toolchain(&self, line: &str) -> Result<String> {
        said(line, &self.run(line, "/opt/rust/bin:")?)
    }

    fn run(&self, line: &str, path: &str) -> Result<Output> {
        let mut enter = command("unshare");
        enter
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", ENTER, "sh"])
            .args([self.directory.path(), &self.toolchain, &self.registry])
            .args(["/usr/bin/env", "-i", "HOME=/root", "LC_ALL=C.UTF-8"])
            .arg(format!(
                "PATH={path}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            ))
            .args(network())
            .args(["sh", "-c"])
            .arg(format!("exec 2>&1; cd /root; {line}"))
            .stdin(Stdio::null());
        enter.output().with_context(|| not_run(&enter))
    }

    /// Every file and directory that there is, but for [`OTHERS`].
    pub(crate) fn listing(&self) -> Result<Listing> {
        let mut found = Listing::new();
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            let entries = fs::read_dir(self.path(&directory));
            for entry in entries.with_context(|| format!("cannot read {directory}"))? {
                let entry = entry?;
                let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
                if OTHERS.contains(&path.as_str()) {
                    continue;
                }
                let about = fs::symlink_metadata(entry.path())?;
                let mode = about.mode();
                if about.is_dir() {
                    found.insert(path.clone(), format!("{mode:o}"));
                    directories.push(path);
                } else {
                    let (size, time) = (about.size(), about.mtime_nsec());
                    found.insert(path, format!("{mode:o} {size} {}.{time:09}", about.mtime()));
                }
            }
        }
        Ok(found)
    }
}

/// Fails with every difference between the two listings.
pub(crate) fn compare(before: &Listing, after: &Listing) -> Result<()> {
    let lines = |one: &Listing, other: &Listing, mark: char| {
        let lines = one
            .iter()
            .filter(|(path, what)| other.get(*path) != Some(what));
        let lines = lines.map(|(path, what)| format!("\n  {mark} {path} {what}"));
        lines.collect::<String>()
    };
    let (gone, new) = (lines(before, after, '-'), lines(after, before, '+'));
    if !gone.is_empty() || !new.is_empty() {
        bail!("the files are not what they were:{gone}{new}");
    }
    Ok(())
}

fn said(line: &str, output: &Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned();
    ensure!(
        output.status.success(),
        "`{line}`: {}:\n{text}",
        output.status
    );
    Ok(text)
}

fn network() -> impl Iterator<Item = String> {
    NETWORK
        .iter()
        .filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)))
}

/// The archive of a system that holds these packages, with commas between them, beside the essential ones.
pub(crate) fn archive_with(suite: &str, packages: &str) -> Result<PathBuf> {
    let sources = archive::sources(suite)?;
    let key = cache::fingerprint(&format!("{packages}\n{sources:?}"));
    cache::entry(format!("debian/{suite}-{key}.tar"), |place| {
        step(&format!("making a clean Debian {suite}"), || {
            let mut mmdebstrap: Command = command("mmdebstrap");
            mmdebstrap.args(["--quiet", "--variant=minbase", "--format=tar"]);
            mmdebstrap.arg(format!("--include={packages}"));
            run_quietly(mmdebstrap.arg(suite).arg(place).args(&sources))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_between_listings_is_named() {
        let listing = |files: &[(&str, &str)]| -> Listing {
            let files = files.iter();
            files
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        let before = listing(&[("/a", "1"), ("/b", "1"), ("/c", "1")]);
        assert!(compare(&before, &before).is_ok());
        let after = listing(&[("/b", "2"), ("/c", "1"), ("/d", "1")]);
        assert_eq!(
            compare(&before, &after).unwrap_err().to_string(),
            "the files are not what they were:\n  - /a 1\n  - /b 1\n  + /b 2\n  + /d 1"
        );
    }
}
