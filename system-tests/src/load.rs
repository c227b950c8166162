//! The loads: real programs, each with the class it is.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::wait;

/// Where the scratch disk is mounted.
const SCRATCH: &str = "/mnt/scratch";
/// The port of an iperf3 that is told none.
const IPERF3: u16 = 5201;

/// A load that can be started.
pub(crate) struct Load {
    /// What it is, for people.
    pub(crate) name: &'static str,
    /// The class that auto-ext must give it.
    pub(crate) class: &'static str,
    command: &'static str,
}

/// One load or two for every class but idle.
pub(crate) const ALL: [Load; 8] = [
    Load {
        name: "one hog per CPU",
        class: "cpu",
        command: "stress-ng --quiet --cpu 4",
    },
    Load {
        name: "six hogs per CPU",
        class: "parallel",
        command: "stress-ng --quiet --cpu 24",
    },
    Load {
        name: "direct random reads",
        class: "io",
        command: "fio --thread --output=/dev/null --name=direct --filename=/mnt/scratch/direct --size=128M \
                  --rw=randread --bs=4k --direct=1 --ioengine=psync --time_based --runtime=10m",
    },
    Load {
        name: "buffered writes",
        class: "io",
        command: "fio --thread --output=/dev/null --name=buffered --filename=/mnt/scratch/buffered \
                  --size=1G --rw=write --bs=1M --ioengine=psync --time_based --runtime=10m",
    },
    Load {
        name: "loopback traffic",
        class: "network",
        command: "iperf3 --client 127.0.0.1 --time 600",
    },
    Load {
        name: "memory mapped, dirtied, unmapped",
        class: "memory",
        // Other methods check what they wrote for seconds in an emulated machine, in which nothing is mapped.
        command: "stress-ng --quiet --vm 4 --vm-bytes 32M --vm-method zero-one",
    },
    Load {
        name: "short sleepers",
        class: "interactive",
        command: "/usr/libexec/auto-ext/system-tests sleepers",
    },
    Load {
        name: "one hog per CPU again",
        class: "cpu",
        command: "stress-ng --quiet --cpu 4",
    },
];

/// A load that runs, and ends when this is dropped.
pub(crate) struct Running(Child);

impl Load {
    /// The load with that class; the first where there are two.
    pub(crate) fn of_class(class: &str) -> &'static Self {
        ALL.iter()
            .find(|load| load.class == class)
            .expect("tests name classes of the table")
    }

    /// Starts the load.
    pub(crate) fn start(&self) -> anyhow::Result<Running> {
        start(self.command)
    }
}

/// Starts a program with its arguments, both separated by spaces.
pub(crate) fn start(command: &str) -> anyhow::Result<Running> {
    start_words(&command.split_whitespace().collect::<Vec<_>>())
}

/// Starts a program with its arguments.
pub(crate) fn start_words(words: &[&str]) -> anyhow::Result<Running> {
    let (program, arguments) = words.split_first().context("no program to start")?;
    start_command(Command::new(program).args(arguments))
}

/// Starts a program, which says nothing.
pub(crate) fn start_command(command: &mut Command) -> anyhow::Result<Running> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("failed to run {command:?}"))?;
    Ok(Running(child))
}

/// Starts a program of which only the output is of interest.
pub(crate) fn start_with_output(command: &mut Command) -> anyhow::Result<(Running, ChildStdout)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("failed to run {command:?}"))?;
    let output = child.stdout.take().context("a pipe that is not there")?;
    Ok((Running(child), output))
}

impl Running {
    /// The number of the process, and of its group.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.0.id()) {
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

/// Makes ready what the loads need: the scratch disk with the files to read, a server for iperf3.
pub(crate) fn prepare() -> anyhow::Result<Running> {
    if !Path::new(SCRATCH).exists() {
        fs::create_dir_all(SCRATCH)?;
        run("mkfs.ext4 -q -F /dev/disk/by-id/virtio-scratch")?;
        run("mount /dev/disk/by-id/virtio-scratch /mnt/scratch")?;
        run(
            "fio --thread --output=/dev/null --name=direct --filename=/mnt/scratch/direct --size=128M \
             --rw=write --bs=1M --ioengine=psync --end_fsync=1",
        )?;
    }
    serve_iperf3()
}

/// Starts the server that the clients of iperf3 ask.
pub(crate) fn serve_iperf3() -> anyhow::Result<Running> {
    let server = start("iperf3 --server")?;
    // A client that comes too early ends at once.
    wait::until("iperf3 listens", &true, || listens(IPERF3))?;
    Ok(server)
}

/// Whether a TCP socket of any address listens there; asked without a connection, which would be a client.
fn listens(port: u16) -> bool {
    // The local address ends with the port; 0A is TCP_LISTEN (include/net/tcp_states.h).
    let local = format!(":{port:04X}");
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|file| fs::read_to_string(file).unwrap_or_default());
    sockets.iter().flat_map(|text| text.lines()).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields
            .get(1)
            .is_some_and(|address| address.ends_with(&local))
            && fields.get(3) == Some(&"0A")
    })
}

fn run(command: &str) -> anyhow::Result<()> {
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap_or_default())
        .args(words)
        .status()
        .with_context(|| format!("failed to run `{command}`"))?;
    ensure!(status.success(), "`{command}`: {status}");
    Ok(())
}

/// A group of tasks that are woken like by input: every 8 ms (a mouse at 125 Hz), for half a
/// millisecond of work. Runs until it is killed.
pub(crate) fn be_short_sleepers() -> ExitCode {
    let sleepers: Vec<_> = (0..16)
        .map(|index| {
            thread::spawn(move || {
                thread::sleep(Duration::from_micros(500 * index));
                loop {
                    thread::sleep(Duration::from_millis(8));
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_micros(500) {
                        std::hint::spin_loop();
                    }
                }
            })
        })
        .collect();
    for sleeper in sleepers {
        if sleeper.join().is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
