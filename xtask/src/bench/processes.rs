//! What rules about programs cost: the daemon beside a flood of short programs, with and without lists and ancestors, all in
//! the same flood; and how soon a program that a rule names has its class.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::daemon::Daemon;
use super::statistics::{percentile, spread};
use crate::command::{Running, command, step};
use crate::ebpf;

/// How many names are in the list.
const NAMES: usize = 20_000;
/// The one of them that runs.
const LISTED: &str = "a-listed-program";
/// How often it is looked whether the class has come; what is measured is that much too long at most.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Ends what would hang.
const HANG: Duration = Duration::from_secs(60);

/// How much is measured.
#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// For how many seconds programs are started; 30 if it is not given
    #[arg(long)]
    seconds: Option<u64>,
    /// How many are started in a second, if the machine is as fast; 5000 if it is not given
    #[arg(long)]
    rate: Option<u32>,
    /// How often a listed program is started; 20 times if it is not given
    #[arg(long)]
    starts: Option<usize>,
}

/// A policy, and what it costs.
struct Way {
    name: &'static str,
    daemon: Daemon,
}

/// Measures.
pub(super) fn processes(arguments: &Arguments, quick: bool, out: &mut dyn Write) -> Result<()> {
    let seconds = arguments.seconds.unwrap_or(if quick { 2 } else { 30 });
    let starts = arguments.starts.unwrap_or(if quick { 2 } else { 20 });
    let rate = arguments.rate.unwrap_or(5000);
    ensure!(
        seconds > 0 && rate > 0 && starts > 0,
        "nothing is measured with 0"
    );
    ebpf::build_release()?;
    let time = Duration::from_secs(seconds);
    let directory = tempfile::tempdir().context("no place for policies")?;
    // Daemons watch the directory of their policy: programs are not to be read from there.
    let programs = tempfile::tempdir().context("no place for programs")?;
    let (directory, programs) = (directory.path(), programs.path());
    let short = short_program(programs)?;
    let ways = step("starting daemons with one policy each", || ways(directory))?;

    let (flood, costs) = step("starting short programs", || {
        let flood = Flood::start(&short, rate)?;
        // What the beginning takes is not what it takes in the long run.
        sleep(Duration::from_secs(1));
        let (programs, begin) = (flood.programs(), Instant::now());
        let before = used(&ways)?;
        sleep(time);
        let after = used(&ways)?;
        let programs = flood.programs() - programs;
        let costs: Vec<f64> = before
            .iter()
            .zip(&after)
            .map(|(before, after)| (after - before) as f64 / begin.elapsed().as_nanos() as f64)
            .collect();
        Ok((programs as f64 / begin.elapsed().as_secs_f64(), costs))
    })?;
    writeln!(
        out,
        "short programs: {flood:.0} started in a second, {rate} wanted, for {seconds} s; all daemons in the same flood"
    )?;
    writeln!(
        out,
        "{:<38} {:>11} {:>13} {:>12}",
        "the policy asks for", "% of a CPU", "memory, MB", "its own, MB"
    )?;
    for (way, cost) in ways.iter().zip(&costs) {
        writeln!(
            out,
            "{:<38} {:>11.2} {:>13.2} {:>12.2}",
            way.name,
            100.0 * cost,
            way.daemon.status("VmRSS")? / 1000.0,
            way.daemon.status("RssAnon")? / 1000.0
        )?;
    }
    drop(ways);

    // One that only observes serves no metrics. This one starts nothing either: its policy names no scheduler.
    let daemon = Daemon::start_serving(&policy(directory, "latency", Asked::Listed)?)?;
    let socket = directory.join("latency.sock");
    let idle = step("starting a listed program", || {
        latencies(programs, &socket, starts)
    })?;
    let busy = step("starting a listed program beside short ones", || {
        let _flood = Flood::start(&short, rate)?;
        latencies(programs, &socket, starts)
    })?;
    drop(daemon);
    for (name, times) in [("at rest", idle), ("beside short programs", busy)] {
        let (_, median, worst) = spread(&times);
        writeln!(
            out,
            "exec of a listed program to its class, {name}: {median:.0} ms median, {:.0} ms 95th, {worst:.0} ms worst, \
             {starts} starts",
            percentile(&times, 95)
        )?;
    }
    Ok(())
}

/// What a policy asks for.
#[derive(Clone, Copy)]
enum Asked {
    Nothing,
    OneName,
    Listed,
    ListedAndDescends,
}

fn ways(directory: &Path) -> Result<Vec<Way>> {
    let ways = [
        ("nothing of programs", "nothing", Asked::Nothing),
        ("one name", "one", Asked::OneName),
        ("20,000 listed names", "listed", Asked::Listed),
        (
            "20,000 listed names and a launcher",
            "descends",
            Asked::ListedAndDescends,
        ),
    ];
    ways.into_iter()
        .map(|(name, file, asked)| {
            let daemon = Daemon::start(&policy(directory, file, asked)?)?;
            Ok(Way { name, daemon })
        })
        .collect()
}

/// Writes a policy, and returns its path.
fn policy(directory: &Path, name: &str, asked: Asked) -> Result<PathBuf> {
    let list = directory.join("list.txt");
    if !list.exists() {
        let mut names = format!("{LISTED}\n");
        for number in 1..NAMES {
            writeln!(names, "some-game-of-the-year-{number}.exe")?;
        }
        fs::write(&list, names)?;
    }
    let lists = "lists: {games: {file: list.txt}}\n";
    let (lists, when) = match asked {
        Asked::Nothing => ("", None),
        Asked::OneName => ("", Some(LISTED)),
        Asked::Listed => (lists, Some("{list: games}")),
        Asked::ListedAndDescends => (lists, Some("[{list: games}, {descends: a-launcher}]")),
    };
    let rule = when.map_or_else(String::new, |when| {
        format!("  - {{class: listed, when: {{process: {when}}}, use: [kernel]}}\n")
    });
    let socket = directory.join(format!("{name}.sock"));
    let path = directory.join(format!("{name}.yaml"));
    fs::write(
        &path,
        format!(
            "version: 1\n{lists}rules:\n{rule}  - {{class: idle, use: [kernel]}}\nmetrics: {{listen: {}}}\n",
            socket.display()
        ),
    )?;
    Ok(path)
}

/// Nanoseconds of CPU time that each has used.
fn used(ways: &[Way]) -> Result<Vec<u64>> {
    ways.iter()
        .map(|way| Ok(way.daemon.used()?.cpu_ns))
        .collect()
}

/// A program that ends at once. That of a C library takes four times as long to begin, and the machine could not start as many
/// as are wanted.
fn short_program(directory: &Path) -> Result<PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        return Ok("/bin/true".into());
    }
    const BASE: u64 = 0x40_0000;
    const HEADERS: u16 = 64 + 56;
    // mov eax, 60 (exit); xor edi, edi; syscall
    let code = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    let size = u64::from(HEADERS) + code.len() as u64;
    let halves = |halves: &[u16]| {
        halves
            .iter()
            .flat_map(|half| half.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let words = |words: &[u64]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let elf = [
        // elf(5): 64 bits, little-endian, version 1.
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        // An executable for x86-64, version 1.
        halves(&[2, 62, 1, 0]),
        // Where it begins, its program header, and no section.
        words(&[BASE + u64::from(HEADERS), 64, 0]),
        halves(&[0, 0, 64, 56, 1, 0, 0, 0]),
        // All of the file is loaded, to be read and run.
        halves(&[1, 0, 5, 0]),
        words(&[0, BASE, BASE, size, size, 0x1000]),
        code.to_vec(),
    ];
    let path = directory.join("short");
    fs::write(&path, elf.concat())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Programs that end at once, started again and again until this is dropped.
struct Flood {
    state: Arc<FloodState>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct FloodState {
    end: AtomicBool,
    programs: AtomicU64,
}

impl Flood {
    /// As many in a second as `rate`, if the machine is as fast.
    fn start(program: &Path, rate: u32) -> Result<Self> {
        let state = Arc::<FloodState>::default();
        let cpus = u32::try_from(thread::available_parallelism()?.get())?;
        let pause = Duration::from_secs(1) * cpus / rate;
        let threads = (0..cpus)
            .map(|_| {
                let (state, program) = (Arc::clone(&state), program.to_owned());
                thread::spawn(move || state.run(&program, pause))
            })
            .collect();
        Ok(Self { state, threads })
    }

    fn programs(&self) -> u64 {
        self.state.programs.load(Ordering::Relaxed)
    }
}

impl FloodState {
    fn run(&self, program: &Path, pause: Duration) {
        let mut next = Instant::now();
        while !self.end.load(Ordering::Relaxed) {
            if Command::new(program)
                .env_clear()
                .status()
                .is_ok_and(|status| status.success())
            {
                self.programs.fetch_add(1, Ordering::Relaxed);
            }
            // What is late is not made up for.
            next = (next + pause).max(Instant::now());
            sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.state.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It counts; what it counted so far is as good.
            let _ = thread.join();
        }
    }
}

/// Milliseconds from the exec of the listed program to its class, as the daemon's metrics say.
fn latencies(directory: &Path, socket: &Path, starts: usize) -> Result<Vec<f64>> {
    let program = directory.join(LISTED);
    if !program.exists() {
        fs::copy("/bin/sleep", &program).context("no /bin/sleep to copy")?;
    }
    let mut times = Vec::new();
    for _ in 0..starts {
        wait_for_class(socket, "idle")?;
        let mut listed = command(&program);
        listed.arg("1000").stdin(Stdio::null());
        let begin = Instant::now();
        // It returns when the program runs.
        let _running = Running::start(&mut listed)?;
        wait_for_class(socket, "listed")?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

fn wait_for_class(socket: &Path, class: &str) -> Result<()> {
    let begin = Instant::now();
    let wanted = format!("auto_ext_class_info{{class=\"{class}\"}} 1");
    while begin.elapsed() < HANG {
        if metrics(socket)?.contains(&wanted) {
            return Ok(());
        }
        sleep(LOOK_EVERY);
    }
    anyhow::bail!("the class {class} never came")
}

fn metrics(socket: &Path) -> Result<String> {
    let mut stream = UnixStream::connect(socket).context("the daemon serves no metrics")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
