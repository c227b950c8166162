//! The loads on which the profilers' cost is measured: each a fixed amount of work, timed.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::{Running, command, not_run, output};
use crate::workspace;

const MEGABYTE: usize = 1 << 20;

/// The CPU to which the pipe benchmark is pinned.
const CPU: &str = "0";

const LOOPBACK: &str = "127.0.0.1";

/// A file system in memory.
const TMPFS: &str = "/dev/shm";

/// A load.
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Runs it, or a tenth of it if that is to be quick, and returns what it took.
    pub(super) run: fn(quick: bool) -> Result<f64>,
}

/// From the one that feels context switches most to those that feel nothing of them.
pub(super) const ALL: [Load; 5] = [
    Load {
        name: "perf bench sched pipe, one CPU",
        unit: "ns",
        run: pipe,
    },
    Load {
        name: "perf bench sched messaging",
        unit: "ms",
        run: messaging,
    },
    Load {
        name: "touching fresh pages",
        unit: "ms",
        run: |quick| Ok(pages(if quick { 2 } else { 20 })),
    },
    Load {
        name: "iperf3, loopback",
        unit: "ms",
        run: |quick| loopback(if quick { 256 } else { 2560 }),
    },
    Load {
        name: "fio in tmpfs",
        unit: "ms",
        run: |quick| files(if quick { 2 } else { 20 }),
    },
];

/// Nanoseconds per operation.
fn pipe(quick: bool) -> Result<f64> {
    let mut bench = command("taskset");
    bench.args(["--cpu-list", CPU, "perf", "bench", "--format", "default"]);
    bench.args(["sched", "pipe", "--loop"]);
    bench.arg(if quick { "20000" } else { "200000" });
    let text = output(&mut bench)?;
    let microseconds: f64 = text
        .lines()
        .find_map(|line| line.trim().strip_suffix("usecs/op")?.trim().parse().ok())
        .with_context(|| format!("`perf bench sched pipe` printed no usecs/op:\n{text}"))?;
    Ok(1000.0 * microseconds)
}

/// Milliseconds in all.
fn messaging(quick: bool) -> Result<f64> {
    let mut bench = command("perf");
    bench.args([
        "bench",
        "--format",
        "simple",
        "sched",
        "messaging",
        "--group",
        "5",
    ]);
    bench.args(["--nr_loops", if quick { "100" } else { "1000" }]);
    let text = output(&mut bench)?;
    let seconds: f64 = text
        .trim()
        .parse()
        .with_context(|| format!("`perf bench sched messaging` printed no time:\n{text}"))?;
    Ok(1000.0 * seconds)
}

/// Milliseconds for touching 64 MB of fresh pages so often.
fn pages(times: usize) -> f64 {
    let begin = Instant::now();
    for _ in 0..times {
        black_box(vec![1u8; 64 * MEGABYTE]);
    }
    begin.elapsed().as_secs_f64() * 1000.0
}

/// Milliseconds for so many megabytes.
fn loopback(megabytes: usize) -> Result<f64> {
    let port = TcpListener::bind((LOOPBACK, 0))
        .and_then(|listener| listener.local_addr())
        .context("no loopback port to listen on")?
        .port()
        .to_string();
    let mut server = command("iperf3");
    server.args(["--server", "--one-off", "--bind", LOOPBACK, "--port", &port]);
    server.stdout(Stdio::null());
    let mut server = Running::start(&mut server)?;
    let mut client = command("iperf3");
    client.args(["--client", LOOPBACK, "--port", &port, "--json"]);
    client.args(["--bytes", &format!("{megabytes}M")]);
    loop {
        let done = client.output().with_context(|| not_run(&client))?;
        let said: Value = serde_json::from_slice(&done.stdout).context("iperf3 wrote no JSON")?;
        if let Some(seconds) = said["end"]["sum_sent"]["seconds"].as_f64() {
            return Ok(1000.0 * seconds);
        }
        // The server may not listen yet.
        ensure!(server.0.try_wait()?.is_none(), "iperf3: {}", said["error"]);
        sleep(Duration::from_millis(10));
    }
}

/// Milliseconds for writing and reading 64 MB so often.
fn files(times: usize) -> Result<f64> {
    let directory = tempfile::tempdir_in(TMPFS).context("no directory in memory")?;
    let mut fio = command("fio");
    fio.args([
        "--name=tmpfs",
        "--size=64M",
        "--rw=readwrite",
        "--bs=4k",
        "--ioengine=psync",
    ]);
    fio.args(["--thread", "--output-format=json"]);
    fio.arg(format!("--loops={times}"));
    fio.arg(format!("--directory={}", directory.path().display()));
    let said: Value = serde_json::from_str(&output(&mut fio)?).context("fio wrote no JSON")?;
    let time = said["jobs"][0]["job_runtime"].as_f64();
    time.context("fio tells no runtime")
}

/// Writes 16 MB to the disk of the target directory.
pub(super) fn write_to_disk() -> Result<()> {
    let path = workspace::target().join("bench-load");
    let mut file =
        File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    let data = vec![1; MEGABYTE];
    for _ in 0..16 {
        file.write_all(&data)?;
        file.sync_data()?;
    }
    drop(file);
    Ok(fs::remove_file(&path)?)
}
