//! Owns what a run lays over the machine's root: the machine's own settings, auto-ext as its
//! installer installs it, the schedulers, scx_loader, the system tests, and the command to run.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::command::{command, quote, run_quietly};
use crate::{ebpf, schedulers, workspace};

/// The directory of the machine's own files in the guest.
const OWN: &str = "usr/libexec/auto-ext-machine";

/// Units that wait for what the machine does not have, or do what a machine of a few minutes does
/// not need.
#[rustfmt::skip]
const MASKED: &[&str] = &[
    "serial-getty@ttyS0.service", "getty@tty1.service", "getty-static.service",
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "systemd-tmpfiles-clean.timer",
    "ldconfig.service", "systemd-journal-catalog-update.service", "systemd-update-done.service",
    "systemd-firstboot.service", "systemd-machine-id-commit.service", "systemd-pstore.service",
    "systemd-random-seed.service", "systemd-hibernate-clear.service", "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount", "sys-fs-fuse-connections.mount",
];

/// Small files of the machine: path and text.
const FILES: &[(&str, &str)] = &[
    ("etc/hostname", "auto-ext-machine\n"),
    (
        "etc/hosts",
        "127.0.0.1 localhost auto-ext-machine\n::1 localhost\n",
    ),
    // Any fixed one: without it systemd takes every boot for the first.
    ("etc/machine-id", "6175746f2d6578742d6d616368696e65\n"),
    (
        "etc/systemd/journald.conf.d/machine.conf",
        "[Journal]\nStorage=volatile\nRateLimitBurst=0\n",
    ),
    (
        "etc/systemd/system.conf.d/machine.conf",
        "[Manager]\nDefaultTimeoutStopSec=20s\n",
    ),
    (
        "usr/lib/systemd/system/machine.target",
        include_str!("../guest/machine.target"),
    ),
    (
        "usr/lib/systemd/system/machine-command.service",
        include_str!("../guest/command.service"),
    ),
    (
        "usr/lib/systemd/system/machine-shell.service",
        include_str!("../guest/shell.service"),
    ),
];

/// What runs scx_loader; its packages bring such files, its crate does not.
const SCX_LOADER: &[(&str, &str)] = &[
    (
        "usr/lib/systemd/system/scx_loader.service",
        include_str!("../guest/scx_loader/scx_loader.service"),
    ),
    (
        "usr/share/dbus-1/system-services/org.scx.Loader.service",
        include_str!("../guest/scx_loader/org.scx.Loader.service"),
    ),
    (
        "usr/share/dbus-1/system.d/org.scx.Loader.conf",
        include_str!("../guest/scx_loader/org.scx.Loader.conf"),
    ),
    (
        "usr/share/polkit-1/actions/org.scx.Loader.policy",
        include_str!("../guest/scx_loader/org.scx.Loader.policy"),
    ),
];

/// What the guest does once it is up.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// A root shell on the console.
    Shell,
    /// A script for `/bin/sh`, or any other program that begins with `#!`.
    Script(String),
}

/// The tree of one run.
pub(super) struct Payload {
    tree: PathBuf,
}

impl Payload {
    /// A tree in the empty directory `tree` with what every machine has: its own settings.
    pub(super) fn begin(tree: PathBuf, work: &Work) -> Result<Self> {
        let payload = Self { tree };
        for (path, text) in FILES {
            payload.write(path, text, 0o644)?;
        }
        for unit in MASKED {
            payload.link("/dev/null", &format!("etc/systemd/system/{unit}"))?;
        }
        let service = match work {
            Work::Shell => {
                payload.write("etc/profile.d/terminal.sh", &terminal(), 0o644)?;
                "machine-shell.service"
            }
            Work::Script(script) => {
                payload.write(
                    &format!("{OWN}/run"),
                    include_str!("../guest/run.sh"),
                    0o755,
                )?;
                payload.write(&format!("{OWN}/command"), script, 0o755)?;
                "machine-command.service"
            }
        };
        let unit = format!("/usr/lib/systemd/system/{service}");
        payload.link(
            &unit,
            &format!("etc/systemd/system/machine.target.wants/{service}"),
        )?;
        payload.write(
            &format!("{OWN}/prepare"),
            include_str!("../guest/prepare.sh"),
            0o755,
        )?;
        Ok(payload)
    }

    /// Adds auto-ext and the services beside it, as the installer installs a release build, and the system tests. With
    /// `bpf_log` its BPF programs say what they see.
    pub(super) fn add_auto_ext(&self, bpf_log: bool) -> Result<()> {
        ebpf::build_release()?;
        if bpf_log {
            ebpf::build_with_bpf_log()?;
        }
        self.install(&["--with", "smt,vm"])
    }

    /// The same without the services beside it.
    pub(super) fn add_auto_ext_alone(&self) -> Result<()> {
        ebpf::build_auto_ext_alone()?;
        self.install(&[])
    }

    fn install(&self, options: &[&str]) -> Result<()> {
        run_quietly(
            command("sh")
                .arg(workspace::root().join("install.sh"))
                .arg("--destdir")
                .arg(&self.tree)
                .args(["--prefix", "/usr"])
                .args(options)
                .arg("--binary")
                .arg(workspace::release("auto-ext")),
        )?;
        self.copy_beside(&workspace::release("system-tests"), "system-tests")
    }

    /// Adds the example of `scx`, which swaps schedulers by itself.
    pub(super) fn add_example(&self) -> Result<()> {
        self.copy_beside(&ebpf::build_example()?, "swap")
    }

    fn copy_beside(&self, program: &Path, name: &str) -> Result<()> {
        self.copy(program, &format!("usr/libexec/auto-ext/{name}"))
    }

    /// Adds the schedulers of these names, or all.
    pub(super) fn add_schedulers(&self, names: Option<&[&str]>) -> Result<()> {
        let programs = match names {
            Some(names) => schedulers::ensure_only(names)?,
            None => schedulers::ensure()?,
        };
        self.add_programs(&programs)
    }

    /// Adds scx_loader and scxctl, with the service that their packages install.
    pub(super) fn add_scx_loader(&self) -> Result<()> {
        self.add_programs(&schedulers::ensure_scx_loader()?)?;
        for (path, text) in SCX_LOADER {
            self.write(path, text, 0o644)?;
        }
        Ok(())
    }

    fn add_programs(&self, programs: &[PathBuf]) -> Result<()> {
        for program in programs {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            self.copy(program, &format!("usr/bin/{name}"))?;
        }
        Ok(())
    }

    /// Adds the file `from` of the host at `to`, with its mode.
    pub(super) fn copy(&self, from: &Path, to: &str) -> Result<()> {
        let place = self.place(to)?;
        fs::copy(from, &place)
            .with_context(|| format!("cannot copy {} for the test machine", from.display()))?;
        Ok(())
    }

    /// Makes the file system of the tree.
    pub(super) fn finish(self, file: &Path) -> Result<()> {
        // These are links to directories in /usr in the root: a directory would hide them all.
        for top in ["bin", "lib", "lib64", "sbin"] {
            if self.tree.join(top).exists() {
                bail!("the installer made /{top}, which Debian has in /usr/{top}");
            }
        }
        super::image::squash(&self.tree, file)?;
        fs::remove_dir_all(&self.tree)?;
        Ok(())
    }

    fn write(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        let place = self.place(path)?;
        fs::write(&place, text)?;
        fs::set_permissions(&place, Permissions::from_mode(mode))?;
        Ok(())
    }

    fn link(&self, target: &str, path: &str) -> Result<()> {
        Ok(symlink(target, self.place(path)?)?)
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        let place = self.tree.join(path.trim_start_matches('/'));
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        Ok(place)
    }
}

/// What tells a shell on the machine's console about the terminal here, which a serial line does
/// not do.
fn terminal() -> String {
    let name = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
    let size = command("stty").arg("size").stdin(Stdio::inherit()).output();
    let size = size.map(|size| String::from_utf8_lossy(&size.stdout).into_owned());
    let size = match size.as_deref().unwrap_or_default().trim().split_once(' ') {
        Some((rows, columns)) => format!("stty rows {rows} cols {columns}\n"),
        None => String::new(),
    };
    format!("export TERM={}\n{size}", quote(name))
}

/// The script that runs `words`: one word is a line for the shell, more are a program and its
/// arguments, as ssh has it.
pub(super) fn script(words: &[String], environment: &[(String, String)]) -> String {
    let mut script = String::from("#!/bin/sh\n");
    for (name, value) in environment {
        script = script + "export " + name + "=" + &quote(value) + "\n";
    }
    let command = match words {
        [line] => line.clone(),
        words => format!(
            "exec {}",
            words.iter().map(quote).collect::<Vec<_>>().join(" ")
        ),
    };
    script + &command + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_a_line_for_the_shell_and_more_are_a_program() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            script(&words(&["id; uname -r"]), &[]),
            "#!/bin/sh\nid; uname -r\n"
        );
        let environment = [("ROLE".to_owned(), "a b".to_owned())];
        assert_eq!(
            script(&words(&["echo", "a b"]), &environment),
            "#!/bin/sh\nexport ROLE='a b'\nexec echo 'a b'\n"
        );
    }

    #[test]
    fn the_machine_id_has_the_form_that_systemd_wants() {
        let (_, id) = FILES
            .iter()
            .find(|(path, _)| *path == "etc/machine-id")
            .unwrap();
        assert_eq!(id.trim().len(), 32);
        assert!(id.trim().chars().all(|c| c.is_ascii_hexdigit()));
    }
}
