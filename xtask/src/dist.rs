//! The subcommand `dist`: packages that need neither a toolchain nor a network where they are
//! installed. What belongs into them is said once, by install.sh: it stages the tree that each of
//! them is made of, and what came of it is compared with that tree.

use std::collections::BTreeSet;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::changelog::{self, About};
use crate::command::{command, output, run_quietly, say, step};
use crate::{debian, ebpf, notices, schedulers, tools, workspace};

/// What an unpacked release has of the sources beside what is built.
const SOURCES: &[&str] = &[
    "install.sh",
    "packaging/needed",
    "policies.yaml",
    "smt.yaml",
    "vm.yaml",
    "systemd",
    "README.md",
    "docs/manual.md",
    "CHANGELOG.md",
    "LICENSE",
];

/// What install.sh is told to install all services too.
const WITH_ALL: [&str; 2] = ["--with", "smt,vm"];

/// What is made beside the program for those who get it from us.
const NOTICES: &str = "third-party-notices.txt";

/// What only a Debian package has: its ways to say whose it is and what changed.
const DEBIAN_ONLY: [&str; 2] = ["changelog.Debian.gz", "copyright"];

/// What a Debian package has not: the licence is in every Debian system.
const NOT_DEBIAN: &str = "LICENSE";

/// A package of those that there are.
struct Described {
    name: &'static str,
    /// The crate that describes it, and its folder.
    krate: &'static str,
    folder: &'static str,
    /// The directories below [`directory`] that the descriptions name.
    tree: &'static str,
    debian: &'static str,
}

const AUTO_EXT: Described = Described {
    name: "auto-ext",
    krate: "auto-ext-dispatcher",
    folder: "dispatcher",
    tree: "tree",
    debian: "deb",
};
const SMT: Described = Described {
    name: "auto-ext-smt",
    krate: "auto-ext-smt",
    folder: "smt",
    tree: "tree-smt",
    debian: "deb-smt",
};
const VM: Described = Described {
    name: "auto-ext-vm",
    krate: "auto-ext-vm",
    folder: "vm",
    tree: "tree-vm",
    debian: "deb-vm",
};
const FORESIGHT: Described = Described {
    name: "scx-foresight",
    krate: schedulers::OWN,
    folder: "foresight",
    tree: "tree-foresight",
    debian: "deb-foresight",
};

/// What the packages' descriptions say.
const DESCRIPTION: &str = include_str!("../../dispatcher/Cargo.toml");

/// The packages of one build.
pub(crate) struct Packages {
    pub(crate) deb: PathBuf,
    pub(crate) rpm: PathBuf,
    /// A `.tar.gz` with install.sh and what it installs, in one directory of the archive's name.
    pub(crate) archive: PathBuf,
    /// What all of them hold.
    pub(crate) tree: PathBuf,
    pub(crate) smt: Companion,
    pub(crate) vm: Companion,
    pub(crate) foresight: Companion,
}

/// The packages of a service beside auto-ext, or of the scheduler.
pub(crate) struct Companion {
    pub(crate) deb: PathBuf,
    pub(crate) rpm: PathBuf,
}

/// Makes the packages and says where they are.
pub(crate) fn dist() -> Result<()> {
    debian::ensure_packages()?;
    let packages = optimised()?;
    let (smt, vm, foresight) = (&packages.smt, &packages.vm, &packages.foresight);
    for package in [
        &packages.deb,
        &packages.rpm,
        &smt.deb,
        &smt.rpm,
        &vm.deb,
        &vm.rpm,
        &foresight.deb,
        &foresight.rpm,
        &packages.archive,
    ] {
        let size = fs::metadata(package)?.len();
        say(format!("{} ({} KiB)", package.display(), size / 1024));
    }
    let glibc = glibc(&workspace::distribution("auto-ext"))?;
    say(format!("they need glibc {glibc} or newer"));
    Ok(())
}

/// The version of glibc that `program` needs: what it was built with decides where it runs.
fn glibc(program: &Path) -> Result<String> {
    let symbols = output(command("objdump").arg("--dynamic-syms").arg(program))?;
    newest_glibc(&symbols).context("the program needs no glibc at all")
}

/// The newest of the versions that a listing of symbols names.
fn newest_glibc(symbols: &str) -> Option<String> {
    let words = symbols.split([' ', '\t', '\n', '(', ')']);
    words
        .filter_map(|word| word.strip_prefix("GLIBC_"))
        .filter_map(|version| {
            let numbers: Option<Vec<u32>> = version.split('.').map(|n| n.parse().ok()).collect();
            Some((numbers?, version.to_owned()))
        })
        .max()
        .map(|(_, version)| version)
}

/// Makes the packages as others get them.
pub(crate) fn optimised() -> Result<Packages> {
    ebpf::build_distribution()?;
    make(workspace::distribution)
}

/// Makes the packages of what was built, each with exactly the files that install.sh installs. `built` says where
/// what was built is.
pub(crate) fn make(built: fn(&str) -> PathBuf) -> Result<Packages> {
    step("making the packages", || {
        let directory = directory();
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        notices::write(&built(NOTICES))?;
        schedulers::put_own_beside(&built("auto-ext"), &built("documents"))?;
        let tree = directory.join(AUTO_EXT.tree);
        let all = directory.join("tree-with-all");
        let installer = workspace::root().join("install.sh");
        let program = built("auto-ext");
        let binary = ["--binary".as_ref(), program.as_path()];
        stage(&installer, &binary, &tree)?;
        let with_all = [&binary[..], &WITH_ALL.map(Path::new)].concat();
        stage(&installer, &with_all, &all)?;
        let companion = |package: &Described, [option, name]: [&str; 2]| -> Result<Companion> {
            let with = directory.join(format!("tree-with-{name}"));
            let arguments = [&binary[..], &[option, name].map(Path::new)].concat();
            stage(&installer, &arguments, &with)?;
            subtract(&with, &tree, &directory.join(package.tree))?;
            Ok(Companion {
                deb: deb(package)?,
                rpm: rpm(package)?,
            })
        };
        Ok(Packages {
            deb: deb(&AUTO_EXT)?,
            rpm: rpm(&AUTO_EXT)?,
            archive: archive(&all, built)?,
            smt: companion(&SMT, ["--with", "smt"])?,
            vm: companion(&VM, ["--with", "vm"])?,
            foresight: companion(&FORESIGHT, ["--schedulers", "foresight"])?,
            tree,
        })
    })
}

/// Not in cargo's target directory, which can be set to be elsewhere: the packages' descriptions
/// in dispatcher/Cargo.toml name the tree relative to themselves.
fn directory() -> PathBuf {
    workspace::root().join("target/dist")
}

/// Has `installer` stage what it installs in `tree`.
fn stage(installer: &Path, arguments: &[&Path], tree: &Path) -> Result<()> {
    run_quietly(
        command("sh")
            .arg(installer)
            .args(arguments)
            .arg("--destdir")
            .arg(tree),
    )?;
    // It remembers there which directories are its own; in a package they are the package's.
    let remembered = tree.join("usr/share/auto-ext/directories");
    fs::remove_file(&remembered).with_context(|| format!("no {}", remembered.display()))?;
    // And which schedulers.
    let schedulers = tree.join("usr/share/auto-ext/schedulers");
    if schedulers.exists() {
        fs::remove_dir_all(&schedulers)
            .with_context(|| format!("cannot remove {}", schedulers.display()))?;
    }
    Ok(())
}

/// Moves the files of `both` that `one` does not have to `other`.
fn subtract(both: &Path, one: &Path, other: &Path) -> Result<()> {
    run_quietly(command("cp").arg("--archive").args([both, other]))?;
    for file in files(one)? {
        fs::remove_file(other.join(&file)).with_context(|| format!("no {}", file.display()))?;
    }
    let mut find = command("find");
    run_quietly(find.arg(other).args(["-type", "d", "-empty", "-delete"]))
}

fn deb(package: &Described) -> Result<PathBuf> {
    let debians = directory().join(package.debian);
    let tree = directory().join(package.tree);
    run_quietly(command("cp").arg("--archive").args([&tree, &debians]))?;
    let documents = format!("usr/share/doc/{}", package.name);
    if package.name == AUTO_EXT.name {
        let documents = debians.join(&documents);
        fs::remove_file(documents.join(NOT_DEBIAN)).with_context(|| format!("no {NOT_DEBIAN}"))?;
        // Debian's policy names it so, and has it compressed.
        fs::rename(documents.join("CHANGELOG.md"), documents.join("changelog"))
            .context("no CHANGELOG.md")?;
        run_quietly(command("gzip").arg("-9n").arg(documents.join("changelog")))?;
    }
    let changelog = directory().join("changelog");
    fs::write(&changelog, debian_changelog(package)?)
        .with_context(|| format!("cannot write {}", changelog.display()))?;
    let mut cargo_deb = packager(&tools::cargo_deb()?);
    cargo_deb.args(["deb", "--no-build", "--package", package.krate]);
    let made_in = directory().join("packages").join(package.name);
    fs::create_dir_all(&made_in).with_context(|| format!("cannot make {}", made_in.display()))?;
    run_quietly(cargo_deb.arg("--output").arg(&made_in))?;
    let deb = made("deb", &made_in)?;
    let contents = output(command("dpkg-deb").arg("--contents").arg(&deb))?;
    let listed: Result<BTreeSet<_>> = contents
        .lines()
        .filter(|line| !line.starts_with('d'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[permissions, owner, _, _, _, path] = &words[..] else {
                bail!("dpkg-deb lists `{line}`");
            };
            let path = path.trim_start_matches('.');
            // Debian has manual pages compressed.
            let manual = path.starts_with("/usr/share/man/");
            let path = path.strip_suffix(".gz").filter(|_| manual).unwrap_or(path);
            Ok(format!(
                "{permissions} {} {path}",
                owner.replace("0/0", "root/root")
            ))
        })
        .collect();
    let mut expected = listing(&debians)?;
    expected.extend(DEBIAN_ONLY.map(|file| format!("-rw-r--r-- root/root /{documents}/{file}")));
    compare(&deb, &listed?, &expected)?;
    Ok(deb)
}

fn debian_changelog(package: &Described) -> Result<String> {
    let maintainer = DESCRIPTION
        .lines()
        .find_map(|line| line.strip_prefix("maintainer = \"")?.strip_suffix('"'));
    let about = About {
        package: package.name,
        version: env!("CARGO_PKG_VERSION"),
        maintainer: maintainer.context("dispatcher/Cargo.toml names no maintainer")?,
    };
    let packed = source_date().map_or_else(|| "now".to_owned(), |date| format!("@{date}"));
    let path = workspace::root().join("CHANGELOG.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    changelog::debian(&text, &about, |day| {
        let mut date = command("date");
        date.env("LC_ALL", "C").args(["--utc", "--rfc-email"]);
        output(date.arg("--date").arg(day.unwrap_or(&packed)))
    })
}

fn rpm(package: &Described) -> Result<PathBuf> {
    let mut generate_rpm = packager(&tools::cargo_generate_rpm()?);
    generate_rpm.args(["generate-rpm", "--package", package.folder]);
    // Not what the libraries' packages of this distribution say: the target is another one.
    generate_rpm.args(["--auto-req", "builtin"]);
    let made_in = directory().join("packages").join(package.name);
    fs::create_dir_all(&made_in).with_context(|| format!("cannot make {}", made_in.display()))?;
    run_quietly(generate_rpm.arg("--output").arg(&made_in))?;
    let rpm = made("rpm", &made_in)?;
    let format = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]";
    let listed = output(
        command("rpm")
            .args(["--query", "--queryformat", format, "--package"])
            .arg(&rpm),
    )?;
    let listed = listed.lines().map(str::to_owned).collect();
    compare(&rpm, &listed, &listing(&directory().join(package.tree))?)?;
    Ok(rpm)
}

fn archive(tree: &Path, built: fn(&str) -> PathBuf) -> Result<PathBuf> {
    let name = format!("auto-ext-{}-{ARCH}-linux", env!("CARGO_PKG_VERSION"));
    let contents = directory().join(&name);
    fs::create_dir(&contents).with_context(|| format!("cannot make {}", contents.display()))?;
    let copy = || {
        let mut cp = command("cp");
        cp.args(["--recursive", "--preserve=mode"]);
        cp
    };
    let mut sources = copy();
    sources.current_dir(workspace::root()).arg("--parents");
    run_quietly(sources.args(SOURCES).arg(&contents))?;
    let made = [
        "auto-ext",
        "auto-ext-smt",
        "auto-ext-vm",
        "documents",
        NOTICES,
    ]
    .map(built);
    run_quietly(copy().args(made).arg(&contents))?;
    // Whoever unpacks it gets the same files, without sources and without a toolchain.
    let unpacked = tempfile::tempdir_in(directory()).context("no place to try the archive")?;
    let with_all = WITH_ALL.map(Path::new);
    stage(&contents.join("install.sh"), &with_all, unpacked.path())?;
    run_quietly(
        command("diff")
            .arg("--recursive")
            .args([tree, unpacked.path()]),
    )?;

    let archive = directory().join(format!("{name}.tar.gz"));
    let mut tar = command("tar");
    tar.args(["--sort=name", "--owner=root:0", "--group=root:0"]);
    if let Some(date) = source_date() {
        tar.arg(format!("--mtime=@{date}"));
    }
    tar.args(["--use-compress-program=gzip -9n", "--create", "--file"]);
    run_quietly(
        tar.arg(&archive)
            .arg("--directory")
            .arg(directory())
            .arg(name),
    )?;
    Ok(archive)
}

/// A tool that makes packages, called as cargo calls it.
fn packager(tool: &Path) -> Command {
    let mut packager = command(tool);
    packager.current_dir(workspace::root());
    if let Some(date) = source_date() {
        packager.env("SOURCE_DATE_EPOCH", date);
    }
    packager
}

/// The time that packages give their files, so that the same sources make the same package: that
/// of the last commit. `None` outside a repository.
fn source_date() -> Option<String> {
    if let Ok(date) = std::env::var("SOURCE_DATE_EPOCH") {
        return Some(date);
    }
    let mut git = command("git");
    git.args(["log", "--max-count=1", "--format=%ct"]);
    let date = output(git.current_dir(workspace::root())).ok()?;
    Some(date.trim().to_owned())
}

/// The one package with this extension in a directory.
fn made(extension: &str, directory: &Path) -> Result<PathBuf> {
    let mut found = None;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            ensure!(
                found.is_none(),
                "two .{extension} in {}",
                directory.display()
            );
            found = Some(path);
        }
    }
    found.with_context(|| format!("no .{extension} was made"))
}

/// The files of `tree`, relative to it.
fn files(tree: &Path) -> Result<Vec<PathBuf>> {
    let mut find = command("find");
    let listed = output(
        find.arg(tree)
            .args(["-not", "-type", "d", "-printf", "%P\n"]),
    )?;
    Ok(listed.lines().map(PathBuf::from).collect())
}

/// The files of `tree`, as `ls` shows them: permissions, owner and path.
fn listing(tree: &Path) -> Result<BTreeSet<String>> {
    let mut find = command("find");
    find.args([tree, Path::new("-not")]);
    // The owner is the one of who builds; in a package all is root's.
    let listed = output(find.args(["-type", "d", "-printf", "%M root/root /%P\n"]))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn compare(package: &Path, found: &BTreeSet<String>, expected: &BTreeSet<String>) -> Result<()> {
    let lines = |set: &BTreeSet<String>, other: &BTreeSet<String>, mark: char| {
        let lines = set
            .difference(other)
            .map(|line| format!("\n  {mark} {line}"));
        lines.collect::<String>()
    };
    let missing = lines(expected, found, '-');
    let excess = lines(found, expected, '+');
    if !missing.is_empty() || !excess.is_empty() {
        bail!(
            "{} does not hold what install.sh installs:{missing}{excess}",
            package.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number() {
        let symbols = "0 DF *UND* 0 (GLIBC_2.9) a\n0 DF *UND* 0 (GLIBC_2.34) b\n\
                       0 DF *UND* 0 (GLIBC_PRIVATE) c\n0 DF *UND* 0 (GCC_3.0) d\n";
        assert_eq!(newest_glibc(symbols).as_deref(), Some("2.34"));
        assert_eq!(newest_glibc("0 DF *UND* 0 (GCC_3.0) d\n"), None);
    }

    #[test]
    fn a_package_that_differs_is_named_with_every_difference() {
        let set = |lines: &[&str]| lines.iter().map(ToString::to_string).collect();
        let package = Path::new("x.deb");
        let both = set(&["-rw-r--r-- root/root /a", "-rw-r--r-- root/root /b"]);
        assert!(compare(package, &both, &both).is_ok());
        let other = set(&["-rw-r--r-- root/root /a", "-rwxr-xr-x root/root /b"]);
        let error = compare(package, &other, &both).unwrap_err().to_string();
        assert_eq!(
            error,
            "x.deb does not hold what install.sh installs:\n  - -rw-r--r-- root/root /b\n  + \
             -rwxr-xr-x root/root /b"
        );
    }
}
