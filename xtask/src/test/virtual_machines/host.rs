//! Owns a clean Debian with libvirt's daemon and small virtual machines that QEMU emulates, without KVM and without systemd. All of it
//! ends when it is dropped.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::guest::Guest;
use crate::cache;
use crate::command::{Running, command, not_run, run_quietly, say};
use crate::debian::{self, root::archive_with};
use crate::machine::image::SUITE;
use crate::machine::{Image, Kernel, Role};

/// What the system holds beside the essential packages.
const PACKAGES: &str = "libvirt-clients,libvirt-daemon,libvirt-daemon-driver-qemu,qemu-system-x86";

/// Nothing here has its own user, namespace or group of the kernel's.
const QEMU_CONF: &str = r#"user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
dynamic_ownership = 0
remember_owner = 0
"#;
const LIBVIRTD_CONF: &str = "auth_unix_rw = \"none\"\n";

/// Has the daemon's parent be the first process of namespaces of its own: with it all others end.
const START: &str = r#"
set -e
root=$1
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
# Guests are as important as whatever else runs, whoever starts them.
renice -n 0 -p $$ >/dev/null
# The first process outlives the daemon, as do the guests.
exec chroot "$root" sh -c 'while :; do /usr/sbin/libvirtd; done'
"#;

/// How long something may take that takes seconds: an emulated machine shares the processors with whatever else runs.
const PATIENCE: Duration = Duration::from_secs(300);

/// The first program of each virtual machine.
const INIT: &str = include_str!("../../guest/vm-init.sh");

/// A system in which libvirt runs.
pub(super) struct Host {
    // First, so that nothing is in the directory any more when it is removed.
    _daemon: Running,
    pid: String,
    root: tempfile::TempDir,
}

impl Host {
    /// Makes the system and starts the daemon in it, with `program` beside it.
    pub(super) fn start(program: &Path) -> Result<Self> {
        ensure!(
            debian::is_root()?,
            "a system with libvirt can only be entered by root"
        );
        let archive = archive_with(SUITE, PACKAGES)?;
        let root = tempfile::tempdir_in(cache::directory()?).context("no place to unpack")?;
        let unpack = ["--extract", "--numeric-owner", "--file"];
        let mut tar = command("tar");
        run_quietly(
            tar.args(unpack)
                .arg(archive)
                .arg("--directory")
                .arg(root.path()),
        )?;
        let path = |path: &str| root.path().join(path);
        fs::write(path("etc/libvirt/qemu.conf"), QEMU_CONF)?;
        fs::write(path("etc/libvirt/libvirtd.conf"), LIBVIRTD_CONF)?;
        fs::copy(program, path("usr/bin/auto-ext-vm"))
            .with_context(|| format!("cannot copy {}", program.display()))?;
        fs::create_dir(path("guests"))?;
        fs::create_dir(path("guests/qmp"))?;
        let kernel = Image::get(&Kernel::Role(Role::Oldest))?;
        fs::copy(kernel.vmlinuz(), path("guests/vmlinuz"))?;
        kernel.guest_initramfs(INIT, &path("guests/initramfs"))?;
        let log = File::create(path("libvirtd.log"))?;
        let mut unshare = command("unshare");
        unshare
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", START, "sh"])
            .arg(root.path())
            .stdout(log.try_clone()?)
            .stderr(log);
        let daemon = Running::start(&mut unshare)?;
        let parent = daemon.0.id();
        let children = format!("/proc/{parent}/task/{parent}/children");
        let pid = wait_for("the daemon's process", || {
            let children = fs::read_to_string(&children).unwrap_or_default();
            Ok(children.split_whitespace().next().map(str::to_owned))
        })?;
        let host = Self {
            _daemon: daemon,
            pid,
            root,
        };
        let up = wait_for("libvirt's daemon", || {
            let answers = host.output("virsh --quiet list")?.status.success();
            Ok(answers.then_some(()))
        });
        up.with_context(|| {
            let log = fs::read_to_string(host.root.path().join("libvirtd.log"));
            format!("the daemon said:\n{}", log.unwrap_or_default())
        })?;
        Ok(host)
    }

    /// A command that runs a line of the shell as root of the system.
    fn enter(&self, line: &str) -> Command {
        let mut enter = command("nsenter");
        enter
            .args(["--target", &self.pid, "--mount", "--pid", "chroot"])
            .arg(self.root.path())
            .args(["/usr/bin/env", "-i", "HOME=/root", "LC_ALL=C.UTF-8"])
            .arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["sh", "-c", line]);
        enter
    }

    fn output(&self, line: &str) -> Result<Output> {
        let mut enter = self.enter(line);
        enter.output().with_context(|| not_run(&enter))
    }

    /// Runs a line that must succeed, and returns what it says.
    pub(super) fn say(&self, line: &str) -> Result<String> {
        let output = self.output(line)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`{line}`: {}:\n{said}{why}",
            output.status
        );
        Ok(said)
    }

    /// Starts a program that runs beside.
    pub(super) fn begin(&self, line: &str) -> Result<Program<'_>> {
        let said = self.root.path().join("said");
        File::create(&said)?;
        let pid = self.say(&format!("{line} > /said 2>&1 & echo $!"))?;
        Ok(Program {
            host: self,
            pid: pid.trim().to_owned(),
            said,
        })
    }

    /// Starts virtual machines, and waits until each does what it is told.
    pub(super) fn boot(&self, guests: &[Guest]) -> Result<()> {
        for guest in guests {
            let Guest { name, .. } = guest;
            if guest.is_libvirts {
                let file = format!("guests/{name}");
                fs::write(self.root.path().join(&file), guest.definition())?;
                self.say(&format!("virsh --quiet define /{file}"))?;
                self.say(&format!("virsh --quiet start {name}"))?;
            } else {
                self.say(&guest.command())?;
            }
            say(format!("{name} is started"));
        }
        for Guest { name, .. } in guests {
            wait_for(&format!("{name} to boot"), || {
                Ok(self.console(name)?.contains("ready").then_some(()))
            })?;
        }
        Ok(())
    }

    /// What a virtual machine has said so far.
    pub(super) fn console(&self, name: &str) -> Result<String> {
        let log = self.root.path().join(format!("guests/{name}.log"));
        let log = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Has a virtual machine do something.
    pub(super) fn tell(&self, name: &str, line: &str) -> Result<()> {
        // As the daemon sees it: the way to it from here may be longer than a socket's may be.
        let path = format!("/proc/{}/root/run/{name}.sock", self.pid);
        let mut stream = UnixStream::connect(&path).context(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        writeln!(stream, "{line}")?;
        for answer in BufReader::new(stream).lines() {
            let answer = answer.with_context(|| format!("{name} does not do `{line}`"))?;
            if answer.trim_end().ends_with(&format!(
                "done: {}",
                line.split(' ').next().unwrap_or_default()
            )) {
                return Ok(());
            }
        }
        bail!("{name} is gone")
    }

    /// Does something with the thread that a vCPU of a virtual machine is: `$task` is its directory in /proc.
    fn vcpu(&self, name: &str, vcpu: u32, does: &str) -> Result<String> {
        let line = format!(
            "for task in /proc/$(cat /run/libvirt/qemu/{name}.pid || cat /guests/{name}.pid)/task/*; do \
             if grep -q '^CPU {vcpu}/' $task/comm; then {does}; fi; done 2>/dev/null"
        );
        Ok(self.say(&line)?.trim().to_owned())
    }

    /// Where a vCPU may run, as its thread says.
    pub(super) fn mask(&self, name: &str, vcpu: u32) -> Result<String> {
        self.vcpu(
            name,
            vcpu,
            "sed -n 's/^Cpus_allowed_list:\\t//p' $task/status",
        )
    }

    /// Has a vCPU run there, without asking anybody.
    pub(super) fn taskset(&self, name: &str, vcpu: u32, cpus: &str) -> Result<()> {
        let does = format!("taskset --cpu-list --pid {cpus} ${{task##*/}} >/dev/null");
        self.vcpu(name, vcpu, &does).map(drop)
    }

    /// Kills the daemon, and waits for the one that takes its place.
    pub(super) fn restart_the_daemon(&self) -> Result<()> {
        let before = self.say("cat /run/libvirtd.pid")?;
        self.say(&format!("kill -KILL {before}"))?;
        wait_for("another daemon", || {
            let now = self.output("cat /run/libvirtd.pid && virsh --quiet list >/dev/null")?;
            let is_another = now.status.success() && now.stdout != before.as_bytes();
            Ok(is_another.then_some(()))
        })
    }

    /// Has the next program not put back what one that failed, and was killed for that, has found.
    pub(super) fn forget_what_was_found(&self) -> Result<()> {
        self.say("rm -rf /var/lib/auto-ext-vm").map(drop)
    }

    /// A number of what libvirt says of a virtual machine's memory, in MiB.
    pub(super) fn memory(&self, name: &str, what: &str) -> Result<u64> {
        let stats = self.say(&format!("virsh --quiet dommemstat {name}"))?;
        let value = stats
            .lines()
            .find_map(|line| line.strip_prefix(what)?.trim().parse::<u64>().ok());
        Ok(value.with_context(|| format!("{name} has no {what}: {stats}"))? / 1024)
    }
}

/// A program that runs in the system.
pub(super) struct Program<'h> {
    host: &'h Host,
    pid: String,
    said: PathBuf,
}

impl Program<'_> {
    /// What it has said so far.
    pub(super) fn said(&self) -> Result<String> {
        fs::read_to_string(&self.said).context("what it said cannot be read")
    }

    /// Waits until it says this.
    pub(super) fn wait_until_it_says(&self, what: &str) -> Result<String> {
        let waited = wait_for(&format!("`{what}`"), || {
            let said = self.said()?;
            Ok(said.contains(what).then_some(said))
        });
        waited.with_context(|| format!("it said:\n{}", self.said().unwrap_or_default()))
    }

    /// Ends it by this signal, and returns what it said. One that is not ended is killed when it is dropped, as the next check may
    /// have one of its own.
    pub(super) fn end(self, signal: &str) -> Result<String> {
        let Self { host, pid, .. } = &self;
        host.say(&format!("kill -{signal} {pid}"))?;
        wait_for("it to end", || {
            // Nobody may wait for it: the daemon is no init.
            let status = format!("/proc/{pid}/status");
            let gone = host.output(&format!("! grep -qs '^State:.[^Z]' {status}"))?;
            Ok(gone.status.success().then_some(()))
        })?;
        self.said()
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // Mostly it has ended.
        let _ = self.host.output(&format!("kill -KILL {}", self.pid));
    }
}

/// Waits for something that happens by itself.
pub(super) fn wait_for<T>(what: &str, mut is: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = is()? {
            return Ok(found);
        }
        ensure!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(200));
    }
}
