//! Owns little systems, each in a directory: a shell, what other packages bring, and a `systemctl` that
//! writes down what it is told. Who is not root is root of a user namespace in them.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{command, run_quietly};
use crate::debian;

/// One program that is all of the tools.
const SHELL: &str = "/bin/busybox";
const TOOLS: &[&str] = &[
    "cat", "chmod", "cp", "cut", "dirname", "echo", "env", "grep", "head", "id", "ls", "mkdir",
    "mktemp", "rm", "rmdir", "sed", "sh", "sort", "stat", "tr", "uname",
];

/// Directories of other packages: `filesystem`, `dbus-common`, `polkit`, `systemd`.
const OTHERS: &[&str] = &[
    "etc",
    "run/systemd/system",
    "usr/bin",
    "usr/lib/systemd/system",
    "usr/lib/systemd/user",
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
pub(super) const DATABASE: &str = "var/lib/rpm";

/// A file, as only root can make devices: what is thrown away is in it, and not compared.
const NULL: &str = "dev/null";

/// A little system.
pub(super) struct Root(tempfile::TempDir);

impl Root {
    pub(super) fn new() -> Result<Self> {
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
        root.write(NULL, "")?;
        root.program("systemctl", SYSTEMCTL)?;
        Ok(root)
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(super) fn read(&self, path: &str) -> Result<String> {
        let path = self.path(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    pub(super) fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Adds a program, which is a script.
    pub(super) fn program(&self, name: &str, script: &str) -> Result<()> {
        let path = format!("usr/bin/{name}");
        self.write(&path, script)?;
        fs::set_permissions(self.path(&path), Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// `program` of this machine, as root.
    pub(super) fn command_as_root(program: &str, options: &[&str]) -> Result<Command> {
        let mut root = command("unshare");
        if !debian::is_root()? {
            root.arg("--map-root-user");
        }
        root.args(options).arg(program);
        Ok(root)
    }

    /// A line of its shell, as its root.
    pub(super) fn shell(&self, line: &str) -> Result<Command> {
        let mut shell =
            Self::command_as_root("sh", &[&format!("--root={}", self.0.path().display())])?;
        shell.args(["-c", line]).env_clear().env("PATH", "/usr/bin");
        Ok(shell)
    }

    /// What systemctl was told since the last time.
    pub(super) fn told(&self) -> Result<Vec<String>> {
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
    pub(super) fn holds(&self, tree: &Path) -> Result<()> {
        let staged = files(tree, &[])?;
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

    pub(super) fn files(&self) -> Result<Files> {
        files(self.0.path(), &[DATABASE, NULL])
    }
}

/// Paths without the first `/`.
pub(super) type Files = BTreeMap<String, File>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) is_directory: bool,
    mode: u32,
    /// Of files alone.
    size: u64,
}

/// All below `root` but for `without`.
fn files(root: &Path, without: &[&str]) -> Result<Files> {
    let mut found = Files::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let path = root.join(&directory);
        let entries =
            fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            let path = directory.join(entry?.file_name());
            if without.iter().any(|without| path == Path::new(without)) {
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

pub(super) fn same(expected: &Files, found: &Files) -> Result<()> {
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
