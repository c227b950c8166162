//! Owns QEMU's command line: which devices the machine has. What lies on its drives is made
//! elsewhere, and what comes out of its ports is read in `run`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::accel::{Accel, BARE, QEMU};
use super::kernel::Image;
use crate::command::command;

/// The devices of one machine.
pub(super) struct Devices<'a> {
    pub(super) accel: Accel,
    pub(super) cpus: u32,
    /// On how many sockets they are, each with a last-level cache of its own.
    pub(super) sockets: u32,
    /// How many of them are the hardware threads of a core.
    pub(super) threads: u32,
    /// As QEMU has it: `2G`.
    pub(super) memory: &'a str,
    /// More on the kernel's command line.
    pub(super) append: &'a str,
    pub(super) kernel: &'a Image,
    pub(super) initramfs: &'a Path,
    /// Read-only drives: serial number and file. The guest finds them by the number.
    pub(super) layers: [(&'a str, PathBuf); 3],
    /// The drive that the guest may write.
    pub(super) scratch: &'a Path,
}

/// Where the console goes.
pub(super) enum Ports<'a> {
    /// To the terminal, with a copy in this file.
    Terminal(&'a Path),
    /// To sockets of these names in this directory, as the ports of the command.
    Sockets(&'a Path),
}

/// The ports, by the names of their sockets. The console comes first: QEMU connects in order.
pub(super) const CONSOLE: &str = "console";
/// What the command writes.
pub(super) const OUTPUT: &str = "output";
/// The records about the command.
pub(super) const STATUS: &str = "status";

impl Devices<'_> {
    /// The command that runs the machine.
    pub(super) fn command(&self, ports: &Ports<'_>) -> Command {
        // QEMU would outlive this program if it were killed.
        let mut qemu = command("setpriv");
        qemu.args(["--pdeathsig", "KILL", QEMU]);
        qemu.args(BARE);
        qemu.args(["-machine", "q35"])
            .args(self.accel.options(self.threads > 1));
        let smp = format!(
            "{},sockets={},threads={}",
            self.cpus, self.sockets, self.threads
        );
        qemu.args(["-smp", &smp, "-m", self.memory]);
        qemu.arg("-kernel")
            .arg(self.kernel.vmlinuz())
            .arg("-initrd")
            .arg(self.initramfs);
        qemu.args(["-append", &self.parameters(), "-device", "virtio-rng-pci"]);
        for (serial, file) in &self.layers {
            drive(&mut qemu, serial, file, "readonly=on");
        }
        drive(&mut qemu, "scratch", self.scratch, "discard=unmap");
        match ports {
            Ports::Terminal(log) => {
                qemu.arg("-chardev").arg(format!(
                    "stdio,id={CONSOLE},mux=on,signal=off,logfile={}",
                    escaped(log)
                ));
                qemu.args([
                    "-serial",
                    "chardev:console",
                    "-mon",
                    "chardev=console,mode=readline",
                ]);
            }
            Ports::Sockets(directory) => {
                for name in [CONSOLE, OUTPUT, STATUS] {
                    let socket = escaped(&directory.join(name));
                    qemu.arg("-chardev")
                        .arg(format!("socket,id={name},path={socket}"));
                }
                qemu.args(["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
                for name in [OUTPUT, STATUS] {
                    qemu.arg("-device")
                        .arg(format!("virtserialport,chardev={name},name={name}"));
                }
            }
        }
        qemu
    }

    fn parameters(&self) -> String {
        // Errors and worse on the console; everything is in the guest's own log.
        format!(
            "console=ttyS0 loglevel=4 panic=-1 apparmor=0 audit=0 TERM=dumb \
             systemd.unit=machine.target systemd.show_status=false {} {}",
            self.accel.parameters(),
            self.append
        )
    }
}

fn drive(qemu: &mut Command, serial: &str, file: &Path, option: &str) {
    let file = escaped(file);
    qemu.arg("-drive").arg(format!(
        "if=none,id={serial},format=raw,file={file},{option}"
    ));
    qemu.arg("-device")
        .arg(format!("virtio-blk-pci,drive={serial},serial={serial}"));
}

/// A path in an option of QEMU, where a comma ends the value unless it is doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
