//! What the kernel tells of processes, and what listening costs. A system test runs it in the test machine. As root it can
//! be run alone anywhere:
//!
//!     cargo test -p auto-ext-profiler --test processes -- --test-threads=1
//!
//! This program plays the processes with threads itself; see `main`.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test speaks to its runner"
)]

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use auto_ext_profiler::ProcessWatcher;
use auto_ext_signals::{Process, ProcessEvent};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_name;
use nix::time::{ClockId, clock_gettime};

const ROLE: &str = "AUTO_EXT_PROCESSES_ROLE";
/// How long nothing may come where nothing is to come.
const WITHIN: Duration = Duration::from_millis(200);
/// Ends a test that would hang. It judges no speed.
const HANG: Duration = Duration::from_secs(60);
/// How long a reader waits for more, as the dispatcher does.
const GATHER: Duration = Duration::from_millis(50);

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    match env::var(ROLE).as_deref() {
        Ok("runs another program in a thread") => {
            let error = std::thread::spawn(|| Command::new("sleep").arg("60").exec());
            panic!("{}", error.join().unwrap());
        }
        Ok("changes its name often") => {
            // More often than the ring has room for.
            for number in 0..20_000 {
                set_name(&CString::new(number.to_string()).unwrap()).unwrap();
            }
            return ExitCode::SUCCESS;
        }
        Ok("ends its first thread") => {
            // The other one lives until the pipe is closed.
            std::thread::spawn(|| std::io::stdin().read(&mut [0]));
            // SAFETY: ends the calling thread alone, whose stack nobody uses.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            unreachable!();
        }
        _ => {}
    }
    let tests: [(&str, Test); 10] = [
        ("all_processes_come_first", all_processes_come_first),
        ("a_process_starts_and_ends", a_process_starts_and_ends),
        ("a_name_may_change", a_name_may_change),
        ("a_fork_needs_no_program", a_fork_needs_no_program),
        ("a_thread_runs_a_program", a_thread_runs_a_program),
        ("a_process_ends_last", a_process_ends_with_its_last_thread),
        ("a_cgroup_may_change", a_cgroup_may_change),
        ("ancestors_outlive_their_end", ancestors_outlive_their_end),
        ("lost_records_are_noticed", lost_records_are_noticed),
        ("what_it_costs", what_it_costs),
    ];
    let trials = tests.map(|(name, test)| Trial::test(name, test));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// Ends its process when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    fn shell(script: &str) -> Self {
        Self::start(Command::new("sh").args(["-c", script]))
    }

    fn role(role: &str) -> Self {
        Self::start(Command::new(env::current_exe().unwrap()).env(ROLE, role))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A watcher whose first scan is done.
fn attached() -> ProcessWatcher {
    let mut watcher = ProcessWatcher::attach().unwrap();
    while watcher.due().is_some() {
        watcher.read();
    }
    watcher
}

/// The events that come within some time.
fn next(watcher: &mut ProcessWatcher, within: Duration) -> Vec<ProcessEvent> {
    let timeout = PollTimeout::try_from(within).unwrap();
    let due = watcher
        .due()
        .map(|due| due.saturating_duration_since(Instant::now()));
    let timeout = due.map_or(timeout, |due| {
        timeout.min(PollTimeout::try_from(due).unwrap())
    });
    poll(
        &mut [PollFd::new(watcher.as_fd(), PollFlags::POLLIN)],
        timeout,
    )
    .unwrap();
    sleep(GATHER);
    watcher.read()
}

/// Waits for an event; says how long that took.
fn wait(
    watcher: &mut ProcessWatcher,
    mut what: impl FnMut(&ProcessEvent) -> bool,
) -> Result<Duration, Failed> {
    let begin = Instant::now();
    let mut seen = Vec::new();
    while begin.elapsed() < HANG {
        let events = next(watcher, WITHIN);
        if events.iter().any(&mut what) {
            return Ok(begin.elapsed());
        }
        seen.extend(events);
    }
    Err(format!("it did not come, but {seen:#?}").into())
}

fn started(event: &ProcessEvent, what: impl FnOnce(&Process) -> bool) -> bool {
    matches!(event, ProcessEvent::Started(process) if what(process))
}

fn has_ended(event: &ProcessEvent, which: u32) -> bool {
    matches!(event, ProcessEvent::Ended { pid } if *pid == which)
}

fn all_processes_come_first() -> Result<(), Failed> {
    let running = Running::start(Command::new("sleep").arg("60"));
    let mut watcher = ProcessWatcher::attach()?;
    let begin = Instant::now();
    while watcher.due().is_some() {
        for event in watcher.read() {
            let ProcessEvent::All(all) = event else {
                continue;
            };
            let found = all.iter().find(|process| process.pid == running.pid());
            let found = found.ok_or("the process is not there")?;
            assert_eq!(found.comm, "sleep");
            assert_eq!(found.argv0, "sleep");
            assert!(found.executable.ends_with("/sleep"), "{found:?}");
            assert!(found.cgroup.starts_with('/'), "{found:?}");
            let kernel = all.iter().find(|process| process.comm == "kthreadd");
            assert_eq!(kernel, None);
            println!("{} processes in {:?}", all.len(), begin.elapsed());
            return Ok(());
        }
    }
    Err("they never came".into())
}

fn a_process_starts_and_ends() -> Result<(), Failed> {
    let mut watcher = attached();
    let mut running = Running::start(Command::new("sleep").arg("60"));
    let pid = running.pid();
    let took = wait(&mut watcher, |event| {
        started(event, |process| {
            process.pid == pid && process.comm == "sleep"
        })
    })?;
    println!("exec to event: {took:?}");
    running.0.kill()?;
    wait(&mut watcher, |event| has_ended(event, pid))?;
    Ok(())
}

fn a_name_may_change() -> Result<(), Failed> {
    let mut watcher = attached();
    let mut running = Running::shell("read x; echo game.exe >/proc/$$/comm; read x");
    let pid = running.pid();
    let named = |event: &ProcessEvent, name: &str| {
        started(event, |process| process.pid == pid && process.comm == name)
    };
    wait(&mut watcher, |event| named(event, "sh"))?;
    let mut pipe = running.0.stdin.take().ok_or("no pipe")?;
    pipe.write_all(b"\n")?;
    wait(&mut watcher, |event| named(event, "game.exe"))?;
    Ok(())
}

/// As services do that put themselves into the background.
fn a_fork_needs_no_program() -> Result<(), Failed> {
    let mut watcher = attached();
    let running = Running::shell("(sleep 0.5; :) & exit");
    let first = running.pid();
    wait(&mut watcher, |event| {
        started(event, |process| {
            process.pid != first && process.comm == "sh"
        })
    })?;
    Ok(())
}

fn a_thread_runs_a_program() -> Result<(), Failed> {
    let mut watcher = attached();
    let running = Running::role("runs another program in a thread");
    let begin = Instant::now();
    while begin.elapsed() < HANG {
        for event in next(&mut watcher, WITHIN) {
            assert!(!has_ended(&event, running.pid()), "only a thread ended");
            if started(&event, |process| {
                process.pid == running.pid() && process.comm == "sleep"
            }) {
                return Ok(());
            }
        }
    }
    Err("it did not come".into())
}

fn a_process_ends_with_its_last_thread() -> Result<(), Failed> {
    let mut watcher = attached();
    let mut running = Running::role("ends its first thread");
    let pid = running.pid();
    wait(&mut watcher, |event| {
        started(event, |process| process.pid == pid)
    })?;
    sleep(WITHIN);
    let state = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    assert!(state.contains(") Z "), "the first thread lives: {state}");
    for event in next(&mut watcher, WITHIN) {
        assert!(!has_ended(&event, pid), "the other thread lives");
    }
    let mut other = ProcessWatcher::attach()?;
    let all = loop {
        if let Some(ProcessEvent::All(all)) = other.read().pop() {
            break all;
        }
    };
    let found = all.iter().find(|process| process.pid == pid);
    assert!(!found.ok_or("the scan lacks it")?.executable.is_empty());
    running.0.stdin.take();
    wait(&mut watcher, |event| has_ended(event, pid))?;
    Ok(())
}

fn a_cgroup_may_change() -> Result<(), Failed> {
    let hierarchies = fs::read_to_string("/proc/mounts")?;
    let mount = hierarchies
        .lines()
        .find_map(|line| {
            line.split(' ')
                .nth(1)
                .filter(|_| line.contains(" cgroup2 "))
        })
        .ok_or("no cgroup2 is mounted")?;
    let cgroup = format!("{mount}/auto-ext-test-{}", std::process::id());
    fs::create_dir(&cgroup)?;
    let mut watcher = attached();
    let running = Running::start(Command::new("sleep").arg("60"));
    let pid = running.pid();
    let of = |event: &ProcessEvent, ours: bool| {
        started(event, |process| {
            process.pid == pid && process.cgroup.contains("auto-ext-test") == ours
        })
    };
    let before = wait(&mut watcher, |event| of(event, false));
    let moved = fs::write(format!("{cgroup}/cgroup.procs"), pid.to_string());
    let after = wait(&mut watcher, |event| of(event, true));
    drop(running);
    fs::remove_dir(cgroup)?;
    moved?;
    before.and(after).map(drop)
}

/// As wine starts its programs: through one that ends before anybody looks.
fn ancestors_outlive_their_end() -> Result<(), Failed> {
    let mut watcher = attached();
    watcher.tell_ancestors(true);
    wait(&mut watcher, |event| matches!(event, ProcessEvent::All(_)))?;
    let launcher =
        Running::shell("echo a-launcher >/proc/$$/comm; (sh -c 'sleep 60 & exit'); read x");
    let mut game = None;
    wait(&mut watcher, |event| {
        started(event, |process| {
            let ours = process.comm == "sleep"
                && process.ancestors.iter().any(|ancestor| {
                    ancestor.pid == launcher.pid() && ancestor.comm == "a-launcher"
                });
            if ours {
                game = Some(process.clone());
            }
            ours
        })
    })?;
    let game = game.ok_or("it did not come")?;
    let us = std::process::id();
    assert!(game.ancestors.iter().any(|ancestor| ancestor.pid == us));
    let stat = fs::read_to_string(format!("/proc/{}/stat", game.pid))?;
    assert!(
        !stat.contains(&format!(") S {} ", launcher.pid())),
        "{stat}"
    );
    drop(launcher);
    // Told anew, it is still known.
    watcher.read_all_again();
    let all = wait_for_all(&mut watcher)?;
    let found = all.iter().find(|process| process.pid == game.pid);
    let found = found.ok_or("the scan lacks it")?;
    let killed = Command::new("kill").arg(game.pid.to_string()).status()?;
    assert!(killed.success());
    assert_eq!(found.ancestors, game.ancestors);
    Ok(())
}

/// What runs, as the next scan finds it.
fn wait_for_all(watcher: &mut ProcessWatcher) -> Result<Vec<Process>, Failed> {
    let mut all = None;
    wait(watcher, |event| {
        if let ProcessEvent::All(found) = event {
            all = Some(found.clone());
        }
        all.is_some()
    })?;
    all.ok_or_else(|| "they never came".into())
}

fn lost_records_are_noticed() -> Result<(), Failed> {
    let mut watcher = attached();
    let mut flood = Running::role("changes its name often");
    flood.0.wait()?;
    let running = Running::start(Command::new("sleep").arg("60"));
    let begin = Instant::now();
    while begin.elapsed() < HANG {
        for event in next(&mut watcher, Duration::from_secs(1)) {
            if let ProcessEvent::All(all) = event {
                assert!(all.iter().any(|process| process.pid == running.pid()));
                assert!(all.iter().all(|process| process.pid != flood.pid()));
                return Ok(());
            }
        }
    }
    Err("nobody noticed".into())
}

/// Prints; judges nothing, as the machine may be busy.
fn what_it_costs() -> Result<(), Failed> {
    let before = resident_kib();
    let begin = Instant::now();
    let mut watcher = ProcessWatcher::attach()?;
    println!(
        "attaching: {:?}, {} KiB resident before, {} after",
        begin.elapsed(),
        before,
        resident_kib()
    );
    while watcher.due().is_some() {
        watcher.read();
    }

    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..20 {
        let running = Running::start(Command::new("sleep").arg("60"));
        let pid = running.pid();
        times.push(wait(&mut watcher, |event| {
            started(event, |process| {
                process.pid == pid && process.comm == "sleep"
            })
        })?);
    }
    times.sort_unstable();
    println!(
        "exec to event: median {:?}, longest {:?}",
        times[10], times[19]
    );
    drop(watcher);

    let mut watcher = attached();
    let reader = std::thread::spawn(move || {
        let (begin, cpu) = (Instant::now(), thread_cpu());
        let (mut events, mut wakeups) = (0, 0);
        while begin.elapsed() < Duration::from_secs(10) {
            events += next(&mut watcher, Duration::from_secs(1)).len();
            wakeups += 1;
        }
        (thread_cpu() - cpu, begin.elapsed(), events, wakeups)
    });
    let spawner = || {
        let (begin, mut spawned) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_secs(10) {
            spawn(1);
            spawned += 1;
        }
        spawned
    };
    let other = std::thread::spawn(spawner);
    let spawned = spawner() + other.join().unwrap();
    let (cpu, elapsed, events, wakeups) = reader.join().unwrap();
    println!(
        "{} processes a second: {cpu:?} of {elapsed:?}, {events} events, {wakeups} wakeups",
        spawned / 10
    );

    slowdown("starting /bin/true 200 times", || spawn(200))?;
    slowdown("starting 1000 threads", || {
        for _ in 0..1_000 {
            std::thread::spawn(|| {}).join().unwrap();
        }
    })
}

/// Times work with the programs attached and without, in turn, and compares the fastest runs: what
/// else the machine does only slows them.
fn slowdown(what: &str, work: impl Fn()) -> Result<(), Failed> {
    let time = |fastest: Duration| {
        let begin = Instant::now();
        work();
        fastest.min(begin.elapsed())
    };
    let (mut with, mut without) = (Duration::MAX, Duration::MAX);
    for _ in 0..20 {
        let watcher = ProcessWatcher::attach()?;
        with = time(with);
        drop(watcher);
        without = time(without);
    }
    println!("{what}: {with:?} with, {without:?} without");
    Ok(())
}

fn spawn(times: u32) {
    for _ in 0..times {
        let status = Command::new("/bin/true").status().unwrap();
        assert!(status.success());
    }
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
