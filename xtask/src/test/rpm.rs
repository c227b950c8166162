//! Owns the trial of the .rpm: it is installed, upgraded and erased in a directory that has what a
//! system's other packages bring, with its scriptlets, of which `systemctl` alone is played: it writes
//! down what it is told. Who is not root is root of a user namespace here.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{command, run_quietly};
use crate::debian;
use crate::dist::Packages;

/// What rpm runs scriptlets with: one program that is all of these.
const SHELL: &str = "/bin/busybox";
const TOOLS: [&str; 5] = ["sh", "cat", "rm", "rmdir", "echo"];

/// Directories of other packages: `filesystem`, `dbus-common`, `polkit`, `systemd`.
const OTHERS: [&str; 14] = [
    "etc",
    "run/systemd/system",
    "usr/bin",
    "usr/lib/systemd/system",
    "usr/share/bash-completion/completions",
    "usr/share/dbus-1/system.d",
    "usr/share/doc",
    "usr/share/fish/vendor_completions.d",
    "usr/share/man/man1",
    "usr/share/man/man5",
    "usr/share/polkit-1/actions",
    "usr/share/zsh/site-functions",
    "var/lib",
    "var/tmp",
];

const SYSTEMCTL: &str = "#!/bin/sh\necho \"$*\" >>/systemctl\n";

/// Where rpm keeps what it knows, which is not compared.
const DATABASE: &str = "var/lib/rpm";

const POLICY: &str = "etc/auto-ext/policies.yaml";

/// What the service leaves there, and what of it stays.
const STATE: &str = "var/lib/auto-ext/failures.json";
const RUNTIME: &str = "run/auto-ext/counters.json";

/// The directory.
struct Root(tempfile::TempDir);

/// From the first installation to the last file that goes.
pub(super) fn is_installed_upgraded_and_erased(packages: &Packages) -> Result<()> {
    let root = Root::new()?;
    let before = root.files()?;

    root.rpm(&["--install", "--nodeps"], &packages.rpm)?;
    ensure!(root.told()? == ["daemon-reload"], "{:?}", root.told()?);
    root.holds(&packages.tree)?;

    // As the service and an administrator leave it.
    let edited = root.read(POLICY)? + "# edited\n";
    root.write(POLICY, &edited)?;
    root.write(STATE, "{}")?;
    root.write(RUNTIME, "{}")?;
    root.rpm(&["--upgrade", "--nodeps", "--replacepkgs"], &packages.rpm)?;
    let told = root.told()?;
    ensure!(
        told.contains(&"try-restart auto-ext.service".to_owned()),
        "{told:?}"
    );
    ensure!(root.read(POLICY)? == edited, "the policy was overwritten");
    ensure!(root.path(STATE).exists(), "/{STATE} is gone");

    root.rpm(&["--erase"], Path::new("auto-ext"))?;
    let told = root.told()?;
    ensure!(
        told.contains(&"--no-reload disable --now auto-ext.service".to_owned()),
        "{told:?}"
    );
    let saved = format!("{POLICY}.rpmsave");
    ensure!(root.read(&saved)? == edited, "/{saved}");
    let mut expected = before;
    let kept = ["etc/auto-ext", &saved, "var/lib/auto-ext", STATE];
    let after = root.files()?;
    for path in kept {
        let file = after
            .get(path)
            .with_context(|| format!("/{path} is gone"))?;
        expected.insert(path.to_owned(), file.clone());
    }
    same(&expected, &after)
}

impl Root {
    fn new() -> Result<Self> {
        let root = Self(tempfile::tempdir().context("no place for a root")?);
        for directory in OTHERS {
            fs::create_dir_all(root.path(directory))?;
        }
        // As in every system of today; rpm needs neither more users nor more groups.
        symlink("usr/bin", root.path("bin"))?;
        root.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
        root.write("etc/group", "root:x:0:\n")?;
        fs::copy(SHELL, root.path("usr/bin/busybox"))
            .with_context(|| format!("no {SHELL}: it is in Debian's busybox-static"))?;
        for tool in TOOLS {
            symlink("busybox", root.path("usr/bin").join(tool))?;
        }
        root.write("usr/bin/systemctl", SYSTEMCTL)?;
        fs::set_permissions(
            root.path("usr/bin/systemctl"),
            Permissions::from_mode(0o755),
        )?;
        Ok(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn read(&self, path: &str) -> Result<String> {
        let path = self.path(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Does something to a package, with nothing of this machine's configuration of rpm.
    fn rpm(&self, action: &[&str], package: &Path) -> Result<()> {
        let mut rpm = if debian::is_root()? {
            command("rpm")
        } else {
            let mut unshare = command("unshare");
            unshare.args(["--map-root-user", "rpm"]);
            unshare
        };
        // Debian's rpm warns that dpkg knows nothing of what it installs, which is so here.
        if Path::new("/etc/debian_version").exists() {
            rpm.arg("--force-debian");
        }
        rpm.arg("--root").arg(self.0.path());
        rpm.arg(format!("--dbpath=/{DATABASE}"));
        run_quietly(rpm.arg("--noplugins").args(action).arg(package))
    }

    /// What systemctl was told since the last time.
    fn told(&self) -> Result<Vec<String>> {
        let path = self.path("systemctl");
        let told = match fs::read_to_string(&path) {
            Ok(told) => told,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("what systemctl was told"),
        };
        fs::remove_file(&path)?;
        Ok(told.lines().map(str::to_owned).collect())
    }

    /// Whether every file of `tree` is there, with its contents and its mode.
    fn holds(&self, tree: &Path) -> Result<()> {
        let staged = files(tree, Path::new(""))?;
        let here = self.files()?;
        for (path, file) in &staged {
            // Directories are others', or have the mode that rpm gives them.
            if file.is_directory {
                continue;
            }
            ensure!(
                here.get(path) == Some(file),
                "/{path}: {:?}",
                here.get(path)
            );
            run_quietly(command("cmp").arg(tree.join(path)).arg(self.path(path)))?;
        }
        Ok(())
    }

    fn files(&self) -> Result<Files> {
        files(self.0.path(), Path::new(DATABASE))
    }
}

/// Paths without the first `/`.
type Files = BTreeMap<String, File>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    is_directory: bool,
    mode: u32,
    /// Of files alone.
    size: u64,
}

/// All below `root` but for `without`.
fn files(root: &Path, without: &Path) -> Result<Files> {
    let mut found = Files::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let path = root.join(&directory);
        let entries =
            fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            let path = directory.join(entry?.file_name());
            if path == without {
                continue;
            }
            let about = fs::symlink_metadata(root.join(&path))?;
            let file = File {
                is_directory: about.is_dir(),
                mode: about.mode() & 0o7777,
                size: if about.is_dir() { 0 } else { about.len() },
            };
            found.insert(path.display().to_string(), file);
            if about.is_dir() {
                directories.push(path);
            }
        }
    }
    Ok(found)
}

fn same(expected: &Files, found: &Files) -> Result<()> {
    let lines = |one: &Files, other: &Files, mark: char| {
        one.iter()
            .filter(|(path, file)| other.get(*path) != Some(file))
            .map(|(path, file)| format!("\n  {mark} /{path} {file:?}"))
            .collect::<String>()
    };
    let (gone, left) = (lines(expected, found, '-'), lines(found, expected, '+'));
    if !gone.is_empty() || !left.is_empty() {
        bail!("the files are not what they were:{gone}{left}");
    }
    Ok(())
}
