//! Owns access to Debian's archive beside the system's own apt: other releases' package lists and
//! packages, in private directories of the cache, checked with the system's Debian keyring.
//! Nothing here changes the system's sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::command::{command, output, run, run_quietly, say, step};

/// The keyring that Debian's own package brings.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Package lists younger than this are not fetched again.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// The Debian mirror to use: `$AUTO_EXT_MIRROR`, else the one of the system's own apt, else the
/// one that mmdebstrap has built in.
pub(crate) fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var("AUTO_EXT_MIRROR") {
        return Ok(mirror);
    }
    own_mirror(&super::codename()?).map_or_else(built_in_mirror, Ok)
}

/// The lines of a sources.list for the release `suite` as it is kept up to date: its security
/// updates too where the system's own apt shows where they are.
pub(crate) fn sources(suite: &str) -> Result<Vec<String>> {
    let mirror = mirror()?;
    let mut lines = vec![
        format!("deb {mirror} {suite} main"),
        format!("deb {mirror} {suite}-updates main"),
    ];
    if let Some(mirror) = own_mirror(&format!("{}-security", super::codename()?)) {
        lines.push(format!("deb {mirror} {suite}-security main"));
    }
    Ok(lines)
}

/// Where the system's own apt gets `suite` from.
fn own_mirror(suite: &str) -> Option<String> {
    let format = "$(RELEASE) $(COMPONENT) $(REPO_URI)";
    let targets = command("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .ok()?;
    system_mirror(&String::from_utf8_lossy(&targets.stdout), suite).map(str::to_owned)
}

/// The mirror of `suite` in a list of index targets.
fn system_mirror<'a>(targets: &'a str, suite: &str) -> Option<&'a str> {
    targets.lines().find_map(|line| {
        let mut words = line.split(' ');
        let own = words.next() == Some(suite) && words.next() == Some("main");
        words.next().filter(|uri| own && uri.starts_with("http"))
    })
}

/// mmdebstrap's own default, as it writes it for a new system before it fetches anything.
fn built_in_mirror() -> Result<String> {
    let mut mmdebstrap = command("mmdebstrap");
    mmdebstrap
        .args(["--quiet", "--variant=custom"])
        .arg(r#"--setup-hook=cat "$1/etc/apt/sources.list" >&2; exit 1"#)
        .args([crate::machine::image::SUITE, "/dev/null"]);
    let said = mmdebstrap
        .output()
        .with_context(|| crate::command::not_run(&mmdebstrap))?;
    let said = String::from_utf8_lossy(&said.stderr);
    said.lines()
        .find_map(|line| {
            line.strip_prefix("deb ")?
                .split(' ')
                .find(|w| w.starts_with("http"))
        })
        .map(str::to_owned)
        .context("no Debian mirror found; set AUTO_EXT_MIRROR to the URL of one")
}

/// An apt of our own with the given suites.
pub(crate) struct Archive {
    architecture: &'static str,
    directory: PathBuf,
    suites: Vec<String>,
}

impl Archive {
    /// The archive with `suites`, which are fetched if the cached lists are not fresh.
    pub(crate) fn open(suites: &[&str]) -> Result<Self> {
        Self::at(format!("apt-{}", suites.join("-")), "amd64", suites)
    }

    /// The same for another architecture than that of the test machine, as Debian calls it.
    pub(crate) fn of(architecture: &'static str, suites: &[&str]) -> Result<Self> {
        let name = format!("apt-{architecture}-{}", suites.join("-"));
        Self::at(name, architecture, suites)
    }

    fn at(name: String, architecture: &'static str, suites: &[&str]) -> Result<Self> {
        let archive = Self {
            architecture,
            directory: cache::path(name)?,
            suites: suites.iter().map(ToString::to_string).collect(),
        };
        let _lock = cache::lock(&archive.directory)?;
        archive.refresh()?;
        Ok(archive)
    }

    fn refresh(&self) -> Result<()> {
        let stamp = self.directory.join("fetched");
        let age = fs::metadata(&stamp).and_then(|stamp| stamp.modified()).ok();
        if age
            .and_then(|time| time.elapsed().ok())
            .is_some_and(|age| age < FRESH)
        {
            return Ok(());
        }
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(self.directory.join(dir))?;
        }
        let mirror = mirror()?;
        let options = format!("arch={} signed-by={KEYRING}", self.architecture);
        let sources: String = (self.suites.iter())
            .map(|suite| format!("deb [{options}] {mirror} {suite} main\n"))
            .collect();
        fs::write(self.directory.join("sources.list"), sources)?;
        let fetch = || {
            step(
                &format!("fetching the package lists of {}", self.suites.join(", ")),
                || run_quietly(self.apt("apt-get").arg("update")),
            )
        };
        match (fetch(), age) {
            (Ok(()), _) => fs::write(stamp, "").context("cannot note when lists were fetched"),
            (Err(error), Some(_)) => {
                say(format!(
                    "using the package lists of an earlier day: {error:#}"
                ));
                Ok(())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = command(program);
        let path = |name: &str| self.directory.join(name).display().to_string();
        for (option, value) in [
            ("Dir::Etc::SourceList", path("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::Etc::Preferences", "/dev/null".into()),
            ("Dir::Etc::PreferencesParts", "/dev/null".into()),
            ("Dir::State::Lists", path("lists")),
            ("Dir::State::Status", "/dev/null".into()),
            ("Dir::Cache", path("cache")),
            // As root, apt's own user may not reach a cache in a home directory; the files are
            // checked against the signed lists whoever fetched them.
            ("APT::Sandbox::User", "root".into()),
            // A mirror can be a snapshot of some day: known kernels are looked for, not updates.
            ("Acquire::Check-Valid-Until", "false".into()),
            (
                "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
                "false".into(),
            ),
            ("Acquire::Languages", "none".into()),
            ("APT::Architecture", self.architecture.into()),
            ("APT::Architectures::", self.architecture.into()),
        ] {
            apt.arg("-o").arg(format!("{option}={value}"));
        }
        apt
    }

    /// The names of all packages that begin with `prefix`.
    pub(crate) fn packages(&self, prefix: &str) -> Result<Vec<String>> {
        let names = output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The names of the packages that `package` depends on.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let said = output(self.apt("apt-cache").args(["depends", package]))?;
        let names = said
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    /// Fetches `packages` and unpacks them into `tree`.
    pub(crate) fn unpack(&self, packages: &[String], tree: &Path) -> Result<()> {
        let debs = tempfile::tempdir_in(&self.directory).context("no place for packages")?;
        run_quietly(
            self.apt("apt-get")
                .arg("download")
                .args(packages)
                .current_dir(&debs),
        )?;
        for deb in fs::read_dir(&debs)? {
            run_quietly(
                command("dpkg-deb")
                    .arg("--extract")
                    .arg(deb?.path())
                    .arg(tree),
            )?;
        }
        Ok(())
    }
}

/// The system's own apt with a release's backports as one more source, for one installation.
pub(crate) struct Backports {
    suite: String,
    parts: tempfile::TempDir,
}

impl Backports {
    /// The backports of `codename`, in a temporary copy of the system's sources.
    pub(crate) fn of(codename: &str) -> Result<Self> {
        let suite = format!("{codename}-backports");
        let parts = tempfile::tempdir().context("no place for a list of sources")?;
        fs::create_dir_all(parts.path().join("lists/partial"))?;
        let sources = parts.path().join("sources");
        fs::create_dir(&sources)?;
        let mut own = vec![PathBuf::from("/etc/apt/sources.list")];
        if let Ok(more) = fs::read_dir("/etc/apt/sources.list.d") {
            own.extend(more.filter_map(|entry| Some(entry.ok()?.path())));
        }
        for source in own.iter().filter(|source| source.is_file()) {
            if let Some(name) = source.file_name() {
                let name = format!("system-{}", name.display());
                fs::copy(source, sources.join(name))?;
            }
        }
        let line = format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror()?);
        fs::write(sources.join("backports.list"), line)?;
        // apt's own user reads the lists.
        run(command("chmod").args(["-R", "a+rX"]).arg(parts.path()))?;
        Ok(Self { suite, parts })
    }

    /// Installs `packages`. Needs root.
    pub(crate) fn install(&self, packages: &[String]) -> Result<()> {
        let apt = || {
            let path = |name: &str| self.parts.path().join(name).display().to_string();
            let mut apt = command("apt-get");
            apt.env("DEBIAN_FRONTEND", "noninteractive")
                .args(["-o", "APT::Sandbox::User=root"]);
            apt.args(["-o", "Dir::Etc::SourceList=/dev/null"]);
            apt.arg("-o")
                .arg(format!("Dir::Etc::SourceParts={}", path("sources")));
            apt.arg("-o")
                .arg(format!("Dir::State::Lists={}", path("lists")))
                .arg("--quiet");
            apt
        };
        if super::is_root()? {
            run(apt().arg("update"))?;
            run(apt()
                .args([
                    "install",
                    "--yes",
                    "--no-install-recommends",
                    "--target-release",
                ])
                .arg(&self.suite)
                .args(packages))
        } else {
            bail!("only root can install {}", packages.join(" "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_the_suite_itself() {
        let targets = "bookworm-security main http://mirror/security/\n\
                       bookworm contrib http://other/debian/\n\
                       bookworm main http://mirror/debian/\n";
        assert_eq!(
            system_mirror(targets, "bookworm"),
            Some("http://mirror/debian/")
        );
        assert_eq!(
            system_mirror(targets, "bookworm-security"),
            Some("http://mirror/security/")
        );
        assert_eq!(system_mirror(targets, "trixie"), None);
        assert_eq!(
            system_mirror("bookworm main cdrom://x/\n", "bookworm"),
            None
        );
    }
}
