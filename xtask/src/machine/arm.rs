//! Owns the emulated Arm, a machine of another architecture and smaller than the test machine: a kernel of Debian's, and programs
//! of ours in its initramfs, of which it runs one. QEMU emulates it instruction by instruction (`-icount`), which it does with one thread: only so do
//! its processors have counters of cycles and instructions. An instruction takes 2 ns of the machine's time, a cycle 1 ns.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::accel::BARE;
use super::console::Console;
use super::initramfs::Initramfs;
use super::kernel::vmlinuz;
use super::kernels::packages_of;
use super::run::Directory;
use crate::cache;
use crate::command::{Running, command, not_run, say, step};
use crate::debian::archive::Archive;

/// The target that programs for it are built for: they need nothing but the kernel.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-musl";

const QEMU: &str = "qemu-system-aarch64";

/// As Debian calls it.
const ARCHITECTURE: &str = "arm64";

/// What depends on a release's kernel for virtual machines, which is called as this with a version in it.
const KERNEL: (&str, &str) = ("linux-image-", "cloud-arm64");

/// Where its busybox is from.
const BUSYBOX: &str = "bookworm";

/// Two cores of two hardware threads, which the device tree tells of, with a PMU of six counters beside that of cycles.
const PROCESSORS: [&str; 8] = [
    "-machine",
    "virt",
    "-cpu",
    "cortex-a57",
    "-smp",
    "4,sockets=1,cores=2,threads=2",
    "-icount",
    "shift=1",
];

/// The initramfs's first program.
const INIT: &str = include_str!("../guest/arm.sh");

/// What that says at the end, before the program's exit status.
const ENDED: &str = "auto-ext machine: ended with ";

/// How long it may take, from switching on to the program's end; usual are two minutes, beside much else more.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A release of Debian, for its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// Debian 12, with Linux 6.1.
    Old,
    /// The backports for Debian 13, with a kernel of these days.
    New,
}

impl Release {
    pub(crate) const ALL: [Self; 2] = [Self::Old, Self::New];

    fn suite(self) -> &'static str {
        match self {
            Self::Old => "bookworm",
            Self::New => "trixie-backports",
        }
    }
}

/// A kernel in the cache.
struct Kernel {
    vmlinuz: PathBuf,
    version: String,
}

impl Kernel {
    /// That of a release, as it was when it was first fetched.
    fn get(release: Release) -> Result<Self> {
        let suite = release.suite();
        let directory = cache::entry(format!("machine/{ARCHITECTURE}-{suite}"), |place| {
            let what = format!("fetching the kernel of {suite} for {ARCHITECTURE}");
            step(&what, || Self::make(suite, place))
        })?;
        let version = fs::read_to_string(directory.join("version"))?;
        Ok(Self {
            vmlinuz: directory.join("vmlinuz"),
            version,
        })
    }

    fn make(suite: &str, place: &Path) -> Result<()> {
        let archive = Archive::of(ARCHITECTURE, &[suite])?;
        let (prefix, flavour) = KERNEL;
        let named = archive.depends(&format!("{prefix}{flavour}"))?;
        let version = named.iter().find_map(|name| name.strip_prefix(prefix));
        let version = version.with_context(|| format!("{suite} has no kernel {flavour}"))?;
        let packages = packages_of(version, &archive.packages("linux-")?.into_iter().collect());
        if packages.is_empty() {
            bail!("{suite} has no whole kernel {version}");
        }
        fs::create_dir_all(place)?;
        let tree = tempfile::tempdir_in(place).context("no place to unpack")?;
        archive.unpack(&packages, tree.path())?;
        fs::rename(vmlinuz(tree.path(), version)?, place.join("vmlinuz"))?;
        Ok(fs::write(place.join("version"), version)?)
    }
}

/// Its busybox, with nothing to link against.
fn busybox() -> Result<PathBuf> {
    cache::entry(
        format!("machine/busybox-{ARCHITECTURE}-{BUSYBOX}"),
        |place| {
            let archive = Archive::of(ARCHITECTURE, &[BUSYBOX])?;
            let tree = tempfile::tempdir().context("no place to unpack")?;
            archive.unpack(&["busybox-static".to_owned()], tree.path())?;
            fs::copy(tree.path().join("bin/busybox"), place)
                .context("busybox-static holds no busybox")?;
            Ok(())
        },
    )
}

/// Runs a program with these arguments, as root, and returns its exit status; it finds others in /bin, by their names. `each` gets the lines on its
/// console, which are those of the program.
///
/// # Errors
/// That the machine could not run it to its end.
pub(crate) fn run(
    release: Release,
    program: &Path,
    arguments: &[&str],
    others: &[&Path],
    each: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<u8> {
    let kernel = Kernel::get(release)?;
    let directory = Directory::take(&format!("{ARCHITECTURE}-{}", release.suite()))?;
    let initramfs = directory.join("initramfs");
    let mut archive = Initramfs::create(&initramfs, &busybox()?, INIT)?;
    archive.program("bin/program", &read(program)?)?;
    for other in others {
        let name = other.file_name().context("a program without a name")?;
        archive.program(&format!("bin/{}", name.display()), &read(other)?)?;
    }
    archive.finish()?;
    let errors = directory.join("qemu.log");
    let mut qemu = qemu(&kernel, &initramfs, arguments);
    qemu.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&errors)?);
    say(format!(
        "booting Linux {} ({ARCHITECTURE}, emulated)",
        kernel.version
    ));
    let mut running = Running::start(&mut qemu)?;
    let lines = lines(&mut running.0).with_context(|| not_run(&qemu))?;
    let mut console = Console::create(directory.join("console.log"))?;
    let ended = watch(&lines, &mut console, each);
    drop(running);
    // Only the logs are worth keeping.
    drop(fs::remove_file(&initramfs));
    ended.map_err(|error| {
        let said = fs::read_to_string(&errors).unwrap_or_default();
        anyhow!("{error:#}\n{said}{}", console.last_lines())
    })
}

fn read(program: &Path) -> Result<Vec<u8>> {
    fs::read(program).with_context(|| format!("cannot read {}", program.display()))
}

fn qemu(kernel: &Kernel, initramfs: &Path, arguments: &[&str]) -> Command {
    // QEMU would outlive this program if it were killed.
    let mut qemu = command("setpriv");
    qemu.args(["--pdeathsig", "KILL", QEMU]).args(BARE);
    qemu.args(PROCESSORS).args(["-m", "512M"]);
    qemu.arg("-kernel").arg(&kernel.vmlinuz);
    qemu.arg("-initrd").arg(initramfs);
    // Only what is worse than errors on the console, which the program needs for itself. New kernels would try their ciphers for minutes.
    let parameters = "console=ttyAMA0 loglevel=3 panic=-1 cryptomgr.notests";
    // What follows the two hyphens the kernel hands to the first program.
    qemu.args([
        "-append",
        &format!("{parameters} -- {}", arguments.join(" ")),
    ]);
    qemu.args(["-serial", "stdio"]);
    qemu
}

/// The lines of the console, as they come.
fn lines(child: &mut Child) -> Result<Receiver<Vec<u8>>> {
    let stdout = child.stdout.take().context("a pipe that is not there")?;
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut split = BufReader::new(stdout).split(b'\n').map_while(Result::ok);
        split.all(|line| send.send(line).is_ok())
    });
    Ok(lines)
}

/// Waits for the program's end.
fn watch(
    lines: &Receiver<Vec<u8>>,
    console: &mut Console,
    each: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<u8> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("no end within {} s", TIMEOUT.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine was switched off"),
        };
        if let Some(meaning) = console.note(&line)? {
            bail!("{meaning}");
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        match line.strip_prefix(ENDED) {
            Some(status) => return status.parse().context("the machine's last line"),
            None => each(line)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of a console, and how it ends.
    fn watched(lines: &[&str]) -> (Vec<String>, Result<u8>) {
        let (send, receive) = mpsc::channel();
        for line in lines {
            send.send(line.as_bytes().to_vec()).unwrap();
        }
        drop(send);
        let directory = tempfile::tempdir().unwrap();
        let mut console = Console::create(directory.path().join("console.log")).unwrap();
        let mut seen = Vec::new();
        let ended = watch(&receive, &mut console, &mut |line| {
            seen.push(line.to_owned());
            Ok(())
        });
        (seen, ended)
    }

    #[test]
    fn a_program_has_ended_when_the_machine_says_so_and_else_has_not() {
        let (seen, ended) = watched(&["one\r", "auto-ext machine: ended with 101\r", "two\r"]);
        assert_eq!((seen, ended.unwrap()), (vec!["one".to_owned()], 101));
        for lines in [
            &["one\r"][..],
            &["[    1.0] Kernel panic - not syncing: Attempted to kill init!\r"],
            &[
                "auto-ext machine: mount proc",
                "auto-ext machine: cannot boot",
            ],
            &["auto-ext machine: ended with \r"],
        ] {
            assert!(watched(lines).1.is_err(), "{lines:?}");
        }
    }
}
