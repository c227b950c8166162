//! Owns the choice of what runs the guest's processors: KVM where it is proven to work, else
//! QEMU's emulation in the way that its version does well.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::kernel::Image;
use crate::cache;
use crate::command::{command, not_run, output, step};

/// The one QEMU that the machine is written for.
pub(super) const QEMU: &str = "qemu-system-x86_64";
/// A machine with nothing but what it is given, which ends instead of booting anew.
pub(super) const BARE: [&str; 5] = [
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
];

/// A kernel that KVM really runs is there in one or two seconds.
const DEADLINE: Duration = Duration::from_secs(20);

const PROOF: &str = "auto-ext: this kernel runs";

/// The first QEMU whose emulation of several CPUs in parallel survives a guest that patches its
/// own text; 7.2 panics it, which loading a scheduler does.
const PARALLEL_SINCE: u32 = 10;

/// What runs the guest's processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accel {
    /// The host's processors.
    Kvm,
    /// Emulation, one thread for each CPU of the guest.
    Parallel,
    /// Emulation, one thread for all.
    Single,
}

impl Accel {
    /// The best that this host can do, as `kernel` proves.
    pub(super) fn choose(kernel: &Image) -> Result<Self> {
        let version = output(command(QEMU).arg("--version"))?;
        if kvm_works(kernel, &version)? {
            return Ok(Self::Kvm);
        }
        Ok(emulation(&version))
    }

    /// The options for QEMU; with `smt`, such that the guest sees the hardware threads of its cores.
    pub(super) fn options(self, smt: bool) -> [&'static str; 4] {
        // Without page tables of a fifth level, which make every walk longer and are of no use to a few GiB. What is
        // emulated is an AMD processor, and Linux takes threads of these for cores unless they have what QEMU does not
        // emulate (topoext).
        let emulated = if smt {
            "max,la57=off,vendor=GenuineIntel"
        } else {
            "max,la57=off"
        };
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Parallel => ["-accel", "tcg,thread=multi", "-cpu", emulated],
            Self::Single => ["-accel", "tcg,thread=single", "-cpu", emulated],
        }
    }

    /// The kernel's parameters: an emulated CPU that its host does not run for a while is not
    /// locked up, and it is slow to clear memory that nobody reads.
    pub(super) fn parameters(self) -> &'static str {
        match self {
            Self::Kvm => "",
            Self::Parallel | Self::Single => {
                "watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=100 mitigations=off init_on_alloc=0"
            }
        }
    }
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Parallel => "emulation, a thread for each CPU",
            Self::Single => "emulation, one thread",
        })
    }
}

fn emulation(version: &str) -> Accel {
    match major(version) {
        Some(major) if major >= PARALLEL_SINCE => Accel::Parallel,
        _ => Accel::Single,
    }
}

/// The first number of the version in what `qemu --version` says.
fn major(said: &str) -> Option<u32> {
    said.split("version ")
        .nth(1)?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Whether KVM boots `kernel`. That /dev/kvm can be opened is no proof: under some hypervisors it
/// can be, and the guest never gets anywhere.
fn kvm_works(kernel: &Image, qemu: &str) -> Result<bool> {
    let kvm = fs::File::options().read(true).write(true).open("/dev/kvm");
    if kvm.is_err() {
        return Ok(false);
    }
    // Until the host boots again, or what is tried changes, the answer stays.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let question = format!("{boot}{qemu}");
    let place = cache::path(format!("machine/kvm-{}", kernel.version))?;
    let _lock = cache::lock(&place)?;
    if let Some(answer) = fs::read_to_string(&place)
        .ok()
        .as_deref()
        .and_then(|text| text.strip_prefix(&question))
    {
        return Ok(answer == "works");
    }
    let works = step("trying whether KVM boots a kernel here", || {
        let run = tempfile::tempdir().context("no place for an initramfs")?;
        let initramfs = run.path().join("initramfs");
        let init =
            format!("#!/bin/busybox sh\n/bin/busybox echo '{PROOF}'\n/bin/busybox poweroff -f\n");
        kernel.bare_initramfs(&init, &initramfs)?;
        boots(kernel, &initramfs)
    })?;
    fs::write(&place, question + if works { "works" } else { "does not" })?;
    Ok(works)
}

fn boots(kernel: &Image, initramfs: &Path) -> Result<bool> {
    let mut qemu = command(QEMU);
    qemu.args(BARE)
        .args([
            "-m",
            "512M",
            "-smp",
            "2",
            "-serial",
            "stdio",
            "-append",
            "console=ttyS0 panic=-1",
        ])
        .args(Accel::Kvm.options(false))
        .arg("-kernel")
        .arg(kernel.vmlinuz())
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = qemu.spawn().with_context(|| not_run(&qemu))?;
    let proven = proof(&mut child);
    // It may be gone already.
    drop(child.kill());
    child.wait()?;
    proven
}

fn proof(child: &mut Child) -> Result<bool> {
    let Some(stdout) = child.stdout.take() else {
        bail!("a pipe that is not there")
    };
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if send
                .send(String::from_utf8_lossy(&line).contains(PROOF))
                .is_err()
            {
                break;
            }
        }
    });
    let deadline = Instant::now() + DEADLINE;
    while let Ok(found) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_qemu_that_can_do_it_emulates_in_parallel() {
        let said = |version: &str| format!("QEMU emulator version {version}\nCopyright ...\n");
        assert_eq!(
            emulation(&said("7.2.22 (Debian 1:7.2+dfsg-7)")),
            Accel::Single
        );
        assert_eq!(
            emulation(&said("10.0.2 (Debian 1:10.0.2+ds-2)")),
            Accel::Parallel
        );
        assert_eq!(emulation(&said("11.1.3")), Accel::Parallel);
        assert_eq!(emulation("something else"), Accel::Single);
    }
}
