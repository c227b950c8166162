//! The test machine: a stock kernel with sched_ext and a small Debian in QEMU, in which auto-ext
//! can be run, tested and broken without touching the host. This module owns its description and
//! is what the subcommands use; each part has a module of its own.
//!
//! A machine is made of layers, none of which a run can change: the root (a Debian of the cache),
//! the kernel's modules, and the payload of the run. Over them lies a file system in memory that
//! goes with the machine.

mod accel;
pub(crate) mod arm;
mod console;
pub(crate) mod image;
mod initramfs;
mod kernel;
pub(crate) mod kernels;
mod lines;
mod payload;
mod qemu;
mod record;
mod run;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::command::{say, side_by_side};
pub(crate) use kernel::Image;
pub(crate) use kernels::{Kernel, Role};
pub(crate) use lines::Lines;
use run::EMULATION_FAILURES;
pub(crate) use run::{Attempt, Exit};

/// Where the machine has the program that `system-tests/` builds.
pub(crate) const SYSTEM_TESTS: &str = "/usr/libexec/auto-ext/system-tests";

/// The size of the drive that the guest finds as /dev/disk/by-id/virtio-scratch.
const SCRATCH: u64 = 4 << 30;

/// A machine to be run. Everything has a default but the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    kernel: Kernel,
    name: Option<String>,
    cpus: u32,
    sockets: u32,
    threads: u32,
    memory: String,
    append: String,
    timeout: Duration,
    bare: bool,
    bpf_log: bool,
    schedulers: Option<&'static [&'static str]>,
    root: image::Root,
    environment: Vec<(String, String)>,
    files: Vec<(PathBuf, String)>,
}

impl Machine {
    /// A machine with `kernel`, 4 CPUs, 2 GiB and auto-ext as its installer installs it. Beside it is
    /// scx_loader, which D-Bus starts when somebody asks it for something.
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            name: None,
            cpus: 4,
            sockets: 1,
            threads: 1,
            memory: "2G".to_owned(),
            append: String::new(),
            timeout: Duration::from_secs(30 * 60),
            bare: false,
            bpf_log: false,
            schedulers: None,
            root: image::Root::Usual,
            environment: Vec::new(),
            files: Vec::new(),
        }
    }

    /// With its files and logs in a directory of this name, instead of its kernel's.
    pub(crate) fn called(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With so many CPUs.
    pub(crate) fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// With its CPUs on so many sockets, each with a last-level cache of its own.
    pub(crate) fn sockets(mut self, sockets: u32) -> Self {
        self.sockets = sockets;
        self
    }

    /// With so many of its CPUs as the hardware threads of each core.
    pub(crate) fn threads(mut self, threads: u32) -> Self {
        self.threads = threads;
        self
    }

    /// With so much memory, as QEMU has it: `2G`.
    pub(crate) fn memory(mut self, memory: impl Into<String>) -> Self {
        self.memory = memory.into();
        self
    }

    /// With more on the kernel's command line.
    pub(crate) fn append(mut self, parameters: impl Into<String>) -> Self {
        self.append = parameters.into();
        self
    }

    /// With so much time from switching on to the command's end.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Without auto-ext, the system tests and scx_loader; the schedulers are there.
    pub(crate) fn bare(mut self, bare: bool) -> Self {
        self.bare = bare;
        self
    }

    /// With an auto-ext that prints what its BPF programs say.
    pub(crate) fn bpf_log(mut self, bpf_log: bool) -> Self {
        self.bpf_log = bpf_log;
        self
    }

    /// With no other schedulers than these, and without scx_loader: what need not be there need not be built.
    pub(crate) fn only_schedulers(mut self, names: &'static [&'static str]) -> Self {
        self.schedulers = Some(names);
        self
    }

    /// With many programs to run as loads.
    pub(crate) fn with_programs(mut self) -> Self {
        self.root = image::Root::WithPrograms;
        self
    }

    /// With a variable in the command's environment.
    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With the file `from` of the host at `to`, mode included.
    pub(crate) fn file(mut self, from: impl Into<PathBuf>, to: impl Into<String>) -> Self {
        self.files.push((from.into(), to.into()));
        self
    }

    /// Runs a root shell of the machine on this terminal, until the machine is switched off.
    pub(crate) fn shell(&self) -> Result<()> {
        self.with_devices(&payload::Work::Shell, run::on_terminal)
    }

    /// Runs a command as root once the machine is up, and returns how it ended. One word is a line
    /// for the shell, more are a program and its arguments. `output` gets what the command writes
    /// on both its outputs, as it comes; [`Lines`] makes lines of it. When the emulation fails the
    /// machine, all begins anew in another.
    ///
    /// # Errors
    /// That the machine could not run the command to its end: it did not boot, the kernel was
    /// lost, the time was over. A command that fails is no error.
    pub(crate) fn run(
        &self,
        words: &[String],
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Exit> {
        for attempt in 1..=EMULATION_FAILURES {
            match self.attempt(words, output)? {
                Attempt::Exit(exit) => return Ok(exit),
                Attempt::Emulation(why) => {
                    say(format!("attempt {attempt} of {EMULATION_FAILURES}: {why}"));
                }
            }
        }
        bail!("the emulation failed {EMULATION_FAILURES} machines");
    }

    /// As [`Machine::run`], in one machine.
    ///
    /// # Errors
    /// As there, but a failure of the emulation is none.
    pub(crate) fn attempt(
        &self,
        words: &[String],
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Attempt> {
        let script = payload::script(words, &self.environment);
        self.with_devices(&payload::Work::Script(script), |devices, directory| {
            run::attempt(devices, directory, self.timeout, output)
        })
    }

    /// As [`Machine::run`], with the output on standard output.
    pub(crate) fn run_on_stdout(&self, words: &[String]) -> Result<Exit> {
        let mut stdout = io::stdout();
        self.run(words, &mut |bytes| {
            stdout.write_all(bytes)?;
            Ok(stdout.flush()?)
        })
    }

    /// Gets everything that the machine needs into the cache; returns the kernel's version.
    pub(crate) fn prepare(&self) -> Result<String> {
        image::root(self.root)?;
        let kernel = Image::get(&self.kernel)?;
        accel::Accel::choose(&kernel)?;
        Ok(kernel.version)
    }

    fn with_devices<T>(
        &self,
        work: &payload::Work,
        run: impl FnOnce(&qemu::Devices<'_>, &run::Directory) -> Result<T>,
    ) -> Result<T> {
        let directory =
            run::Directory::take(&self.name.clone().unwrap_or_else(|| self.kernel.to_string()))?;
        // One waits for the network most of the time, the other for the compiler.
        let ((root, kernel), ()) = side_by_side(
            || Ok((image::root(self.root)?, Image::get(&self.kernel)?)),
            || self.fill_payload(&directory, work),
        )?;
        // Not beside the compiler: how long a boot takes is what tells.
        let accel = accel::Accel::choose(&kernel)?;
        let initramfs = directory.join("initramfs");
        kernel.machine_initramfs(&initramfs)?;
        let scratch = directory.join("scratch");
        run::make_drive(&scratch, SCRATCH)?;

        say(format!(
            "booting Linux {} ({accel}, {} CPUs)",
            kernel.version, self.cpus
        ));
        let devices = qemu::Devices {
            accel,
            cpus: self.cpus,
            sockets: self.sockets,
            threads: self.threads,
            memory: &self.memory,
            append: &self.append,
            kernel: &kernel,
            initramfs: &initramfs,
            layers: [
                ("root", root),
                ("kernel", kernel.layer()),
                ("payload", directory.join("payload.squashfs")),
            ],
            scratch: &scratch,
        };
        let result = run(&devices, &directory);
        // Only the logs are worth keeping.
        for file in ["payload.squashfs", "initramfs", "scratch"] {
            drop(std::fs::remove_file(directory.join(file)));
        }
        result
    }

    /// Makes the layer of this run, building first what it has.
    fn fill_payload(&self, directory: &run::Directory, work: &payload::Work) -> Result<()> {
        let payload = payload::Payload::begin(directory.join("payload"), work)?;
        payload.add_schedulers(self.schedulers)?;
        if !self.bare {
            // Who wants few schedulers looks at auto-ext alone.
            if self.schedulers.is_some() {
                payload.add_auto_ext_alone()?;
            } else {
                payload.add_auto_ext(self.bpf_log)?;
                payload.add_example()?;
                payload.add_scx_loader()?;
            }
        }
        for (from, to) in &self.files {
            payload.copy(from, to)?;
        }
        payload.finish(&directory.join("payload.squashfs"))
    }
}
