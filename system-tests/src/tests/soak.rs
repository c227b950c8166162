//! `soak SECONDS [SEED]`: loads, faults, edits and pins at random, for as long as one likes, and after that, in `soak_trials`, for
//! three quarters as long with trials on; `soak-trials SECONDS [SEED]` is that part alone. The same seed makes the same steps. What must always hold is looked at after every step.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::faults::{Ground, says_what_the_kernel_says};
use super::soak_trials;
use crate::load::{self, Load, Running};
use crate::service::{self, Bus};
use crate::{kernel, pinning, policy, process, wait};

const NAMES: [&str; 6] = ["bpfland", "cosmos", "flash", "beerland", "rusty", "kernel"];
const CLASSES: [&str; 5] = ["cpu", "parallel", "memory", "network", "interactive"];
const CPU: &str = "/sys/devices/system/cpu/cpu2/online";
/// How many steps are made between two looks at what is left behind.
const ROUND: usize = 15;
/// By how much a daemon may grow, in KiB; the history is part of it.
const GROWTH: u64 = 1024;
/// How many switches an hour the policy allows that nobody asked for by name.
const LIMIT: usize = 60;

struct Soak {
    random: fastrand::Rng,
    ground: Ground,
    /// Loads, holders, schedulers of somebody else: all that ends with a round.
    running: Vec<Running>,
    threads: usize,
    memory: u64,
    pins: Pins,
}

/// How many pins came to what.
#[derive(Debug, Default)]
struct Pins {
    carried_out: usize,
    failed: usize,
}

type Step = (&'static str, fn(&mut Soak) -> anyhow::Result<()>);

/// Each is as probable as the others; what is to come more often is there more often.
const STEPS: [Step; 20] = [
    ("load", Soak::load),
    ("load", Soak::load),
    ("load", Soak::load),
    ("no loads", Soak::no_loads),
    ("pin", Soak::pin),
    ("pin", Soak::pin),
    ("pin for a while", Soak::pin_for_a_while),
    ("unpin", Soak::unpin),
    ("hold", Soak::hold),
    ("edit", Soak::edit),
    ("invalid edit", Soak::invalid_edit),
    ("scheduler killed", Soak::kill_scheduler),
    ("scheduler stopped", Soak::stop_scheduler),
    ("SysRq-S", Soak::sysrq),
    ("CPU gone and back", Soak::cpu),
    ("scheduler that fails", Soak::failing),
    ("scheduler of somebody else", Soak::foreign),
    ("flood of programs", Soak::flood),
    ("bus restarted", Soak::restart_bus),
    ("daemon killed", Soak::kill_daemon),
];

/// Soaks for so many seconds.
pub(crate) fn soak(numbers: &[&str]) -> anyhow::Result<()> {
    let (lasts, seed) = asked(numbers)?;
    let begun = Instant::now();
    let _server = load::prepare()?;
    fs::write("/proc/sys/kernel/sysrq", "1")?;
    write_policy(30)?;
    service::restart()?;
    let mut soak = Soak::begin(seed)?;
    let mut steps = 0;
    while begun.elapsed() < lasts {
        let (what, step) = STEPS[soak.random.usize(..STEPS.len())];
        steps += 1;
        let at = begun.elapsed().as_secs();
        eprintln!("{at:>5} s  step {steps}: {what}");
        let pause = Duration::from_millis(soak.random.u64(..3000));
        step(&mut soak)
            .and_then(|()| {
                sleep(pause);
                soak.holds(what)
            })
            .and_then(|()| match steps % ROUND {
                0 => soak.round(),
                _ => Ok(()),
            })
            .with_context(|| format!("seed {seed}, step {steps}, {what}"))?;
    }
    soak.round()
        .with_context(|| format!("seed {seed}, at the end"))?;
    ensure!(soak.pins.failed <= soak.pins.carried_out, "{:?}", soak.pins);
    eprintln!(
        "{steps} steps, {} schedulers enabled, {:?}",
        kernel::enable_seq(),
        soak.pins
    );
    soak_trials::soak(&mut soak.random, lasts * 3 / 4)
        .with_context(|| format!("seed {seed}, with trials"))
}

/// Soaks for so many seconds, with trials on from the beginning.
pub(crate) fn with_trials(numbers: &[&str]) -> anyhow::Result<()> {
    let (lasts, seed) = asked(numbers)?;
    soak_trials::soak(&mut fastrand::Rng::with_seed(seed), lasts)
        .with_context(|| format!("seed {seed}"))
}

/// For how long, and the seed, which is printed.
fn asked(numbers: &[&str]) -> anyhow::Result<(Duration, u64)> {
    let (seconds, seed) = match numbers {
        [seconds] => (seconds, fastrand::u64(..)),
        [seconds, seed] => (seconds, seed.parse().context("a seed is a number")?),
        _ => bail!("for how many seconds?"),
    };
    let seconds = seconds.parse().context("how many seconds is a number")?;
    eprintln!("seed {seed}");
    Ok((Duration::from_secs(seconds), seed))
}

/// A scheduler for every class but idle. Nobody plays, but processes are watched for it.
fn write_policy(min_run_tenths: u64) -> anyhow::Result<()> {
    let min_run = min_run_tenths * 100;
    policy::write(&format!(
        "version: 1\nrules:\n  - {{class: game, when: {{process: [the-game]}}, use: [cosmos]}}\n  \
         - {{class: network, when: {{net: high}}, use: [cosmos, kernel]}}\n  \
         - {{class: memory, when: {{mem: high}}, use: [beerland, cosmos, kernel]}}\n  \
         - {{class: interactive, when: {{interactive: high}}, use: [bpfland, kernel]}}\n  \
         - {{class: cpu, when: {{cpu: high}}, use: [flash, bpfland, kernel]}}\n  \
         - {{class: idle, use: [kernel]}}\n\
         stability: {{min_run: {min_run}ms, max_switches_per_hour: {LIMIT}}}\n"
    ))
}

impl Soak {
    fn begin(seed: u64) -> anyhow::Result<Self> {
        let ground = at_home()?;
        Ok(Self {
            random: fastrand::Rng::with_seed(seed),
            threads: process::threads(ground.daemon()),
            memory: process::memory(ground.daemon())?,
            ground,
            running: Vec::new(),
            pins: Pins::default(),
        })
    }

    /// What holds at any time.
    fn holds(&self, what: &str) -> anyhow::Result<()> {
        self.ground.is_sane(what)
    }

    /// Ends all that runs, and looks at what is left behind.
    fn round(&mut self) -> anyhow::Result<()> {
        self.running.clear();
        service::say("auto-ext pin kernel")?;
        self.ground.is_as_before("a round")?;
        let daemon = self.ground.daemon();
        let memory = process::memory(daemon)?;
        ensure!(
            memory <= self.memory + GROWTH,
            "the daemon grew from {} to {memory} KiB",
            self.memory
        );
        wait::until("more threads than at first", &0, || {
            process::threads(daemon).saturating_sub(self.threads)
        })?;
        let journal = self.ground.journal()?;
        ensure!(!journal.contains("panicked"), "{journal}");
        // The journal has no line about a switch of another daemon than this.
        let unasked = journal
            .lines()
            .filter(|line| line.contains(" -> ") && !line.contains(": pinned"))
            .count();
        ensure!(unasked <= LIMIT, "{unasked} switches");
        eprintln!("         {memory} KiB, {unasked} switches that nobody asked for");
        service::say("auto-ext unpin").map(drop)
    }

    fn load(&mut self) -> anyhow::Result<()> {
        let class = CLASSES[self.random.usize(..CLASSES.len())];
        self.running.push(Load::of_class(class).start()?);
        Ok(())
    }

    fn no_loads(&mut self) -> anyhow::Result<()> {
        self.running.clear();
        Ok(())
    }

    fn pin(&mut self) -> anyhow::Result<()> {
        self.pin_with("")
    }

    fn pin_for_a_while(&mut self) -> anyhow::Result<()> {
        let seconds = self.random.u64(5..15);
        self.pin_with(&format!(" --for {seconds}s"))
    }

    /// A pin may fail: schedulers stall on a machine that is busy enough, and time can be up before one
    /// is loaded. Most are to be carried out.
    fn pin_with(&mut self, options: &str) -> anyhow::Result<()> {
        let name = NAMES[self.random.usize(..NAMES.len())];
        let output = service::output(&format!("auto-ext pin {name}{options}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => self.pins.carried_out += 1,
            Some(1) => {
                eprintln!("         {}", said.trim());
                self.pins.failed += 1;
            }
            code => bail!("`auto-ext pin` ended with {code:?}: {said}"),
        }
        Ok(())
    }

    fn unpin(&mut self) -> anyhow::Result<()> {
        service::say("auto-ext unpin").map(drop)
    }

    fn hold(&mut self) -> anyhow::Result<()> {
        self.running
            .push(load::start("auto-ext hold -- sleep 1000")?);
        Ok(())
    }

    fn edit(&mut self) -> anyhow::Result<()> {
        write_policy(self.random.u64(10..100))
    }

    fn invalid_edit(&mut self) -> anyhow::Result<()> {
        policy::write("version: 1\nrulez: []\n")
    }

    fn kill_scheduler(&mut self) -> anyhow::Result<()> {
        self.signal_scheduler(&[Signal::SIGKILL])
    }

    fn stop_scheduler(&mut self) -> anyhow::Result<()> {
        self.signal_scheduler(&[Signal::SIGSTOP, Signal::SIGCONT])
    }

    /// Sends the signals to what runs of ours, if anything does, a second between them.
    fn signal_scheduler(&self, signals: &[Signal]) -> anyhow::Result<()> {
        let pid = self.ground.bus().number("SchedulerPid")?;
        if pid == 0 {
            return Ok(());
        }
        for signal in signals {
            // It may have ended meanwhile.
            let _ = nix::sys::signal::kill(Pid::from_raw(i32::try_from(pid)?), *signal);
            sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    fn sysrq(&mut self) -> anyhow::Result<()> {
        fs::write("/proc/sysrq-trigger", "S")?;
        sleep(Duration::from_secs(1));
        // Out of the safe mode; an invalid policy is said, and no obstacle to that.
        service::output("auto-ext reload").map(drop)
    }

    fn cpu(&mut self) -> anyhow::Result<()> {
        fs::write(CPU, "0")?;
        sleep(Duration::from_millis(self.random.u64(..2000)));
        Ok(fs::write(CPU, "1")?)
    }

    fn failing(&mut self) -> anyhow::Result<()> {
        pinning::pin("rusty -- --nonsense")?.fails().map(drop)
    }

    fn foreign(&mut self) -> anyhow::Result<()> {
        if kernel::state() == "disabled" {
            self.running.push(load::start("/usr/bin/scx_bpfland")?);
            // What is pinned while it loads would be a race, which either may win.
            wait::until("somebody's scheduler", &"enabled".to_owned(), kernel::state)?;
        }
        Ok(())
    }

    fn flood(&mut self) -> anyhow::Result<()> {
        let flood = load::start_words(&["sh", "-c", "while :; do /bin/true; done"])?;
        sleep(Duration::from_secs(2));
        drop(flood);
        Ok(())
    }

    fn restart_bus(&mut self) -> anyhow::Result<()> {
        service::say("systemctl restart dbus.service")?;
        self.ground.follow_the_bus()
    }

    fn kill_daemon(&mut self) -> anyhow::Result<()> {
        self.running.clear();
        // However often: systemd's limit is not what is looked at here.
        service::say("systemctl reset-failed auto-ext.service").ok();
        // With an invalid policy the next daemon would start without any.
        self.edit()?;
        service::output("auto-ext reload")?;
        let daemon = self.ground.daemon();
        let objects = self.ground.bpf_objects();
        pinning::send(Signal::SIGKILL, Pid::from_raw(i32::try_from(daemon)?))?;
        wait::until("another daemon", &true, || {
            pinning::daemon().is_ok_and(|now| now != daemon)
        })?;
        self.ground = at_home()?;
        let after = self.ground.bpf_objects();
        ensure!(
            after == objects,
            "BPF objects: {objects:?} became {after:?}"
        );
        self.threads = process::threads(self.ground.daemon());
        self.memory = process::memory(self.ground.daemon())?;
        Ok(())
    }
}

/// Waits for the daemon, and for the kernel's own scheduler.
fn at_home() -> anyhow::Result<Ground> {
    let bus = Bus::connect()?;
    wait::until("daemon on the bus", &true, || {
        bus.number("Switches").is_ok()
    })?;
    // Each scheduler once, so that what is made only once is there.
    for name in ["bpfland", "cosmos", "kernel"] {
        service::say(&format!("auto-ext pin {name}"))?;
    }
    wait::until("state", &"disabled".to_owned(), kernel::state)?;
    says_what_the_kernel_says("at home", &bus)?;
    // While it is pinned: the policy may like what it sees of the load.
    let ground = Ground::at_rest(bus)?;
    service::say("auto-ext unpin")?;
    Ok(ground)
}
