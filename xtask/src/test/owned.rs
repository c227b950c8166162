//! Owns the trial of install.sh where a package has installed auto-ext, in little systems that have the
//! tool of one package manager each, which is played: it says what the real one says of such files. dpkg
//! itself is tried in the test machine.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::little::{Files, Root, same};
use crate::command::{command, run_quietly};
use crate::dist::Packages;

/// The tool that is asked, what it is, and how the package is to be removed.
const MANAGERS: [(&str, &str, &str); 3] = [
    (
        "dpkg-query",
        "for file; do :; done\necho \"diversion by other from: $file\"\necho \"auto-ext-git, other: $file\"",
        "apt remove auto-ext-git",
    ),
    ("rpm", "echo auto-ext-git", "rpm --erase auto-ext-git"),
    ("pacman", "echo auto-ext-git", "pacman -R auto-ext-git"),
];

/// What the service leaves, and the policy.
const KEPT: [&str; 2] = [
    "var/lib/auto-ext/failures.json",
    "etc/auto-ext/policies.yaml",
];

/// Whichever manager there is: install.sh changes nothing, and says what to do. Where no package owns the
/// files it removes them, and keeps what is to be kept until it is told to purge.
pub(super) fn install_sh_leaves_what_a_package_owns(packages: &Packages) -> Result<()> {
    for (manager, script, remedy) in MANAGERS {
        let root = Root::new()?;
        let bare = root.files()?;
        run_quietly(
            command("cp")
                .args(["--recursive", "--preserve=mode"])
                .arg(packages.tree.join("."))
                .arg(root.path("")),
        )?;
        root.write(KEPT[0], "{}")?;
        let release = packages.archive.with_extension("").with_extension("");
        fs::create_dir(root.path("root"))?;
        for file in [
            "install.sh",
            "packaging",
            "policies.yaml",
            "systemd",
            "auto-ext",
        ] {
            run_quietly(
                command("cp")
                    .arg("--recursive")
                    .args([release.join(file), root.path("root")]),
            )?;
        }
        root.program(manager, &format!("#!/bin/sh\n{script}\n"))?;

        let before = root.files()?;
        for options in ["", "--uninstall", "--uninstall --purge"] {
            let said = root.install_sh(options, 1)?;
            let says = said.contains("belongs to the package auto-ext-git; nothing was changed")
                && said.contains(remedy);
            ensure!(says, "{manager}, `{options}`: {said}");
            same(&before, &root.files()?).with_context(|| format!("{manager}, `{options}`"))?;
        }

        root.program(manager, "#!/bin/sh\nexit 1\n")?;
        let said = root.install_sh("--uninstall", 0)?;
        ensure!(said.contains("Kept: /var/lib/auto-ext"), "{said}");
        for path in KEPT {
            ensure!(root.path(path).exists(), "/{path} is gone");
        }
        root.install_sh("--uninstall --purge", 0)?;
        fs::remove_dir_all(root.path("root"))?;
        fs::remove_file(root.path("usr/bin").join(manager))?;
        root.told()?;
        // The directories of the tree are none that install.sh made.
        let files = |mut all: Files| {
            all.retain(|_, file| !file.is_directory);
            all
        };
        same(&files(bare), &files(root.files()?))?;
    }
    Ok(())
}

impl Root {
    /// Runs it, and returns what it says.
    fn install_sh(&self, options: &str, status: i32) -> Result<String> {
        let line = format!("exec 2>&1; sh /root/install.sh {options}");
        let output = self.shell(&line)?.output().context("no unshare")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.code() == Some(status),
            "install.sh {options}: {}: {said}",
            output.status
        );
        Ok(said)
    }
}
