//! What can go wrong, provoked for real; `docs/faults.md` lists it for people.
//!
//! One frame for all: a fault is provoked, the machine finds back to a sane state, and then the kernel is
//! asked, the daemon lives and says what the kernel says, and nothing is left behind.

pub(super) mod bus;
pub(super) mod clock;
pub(super) mod cpus;
pub(super) mod daemon;
pub(super) mod disk;
pub(super) mod missing;
pub(super) mod processes;
pub(super) mod schedulers;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::leftovers::{self, Leftovers};
use crate::load::{self, Running};
use crate::service::{self, Bus};
use crate::{kernel, pinning, policy, wait};

/// A program by whose name the policy of [`with_a_game`] knows a game.
const GAME: &str = "/usr/local/lib/auto-ext-tests/the-game";

/// The machine before a fault: the kernel's own scheduler runs, and the daemon is at rest.
pub(super) struct Ground {
    bus: Bus,
    daemon: u32,
    leftovers: Leftovers,
    began: String,
}

impl Ground {
    /// Looks, once nothing happens any more.
    pub(super) fn at_rest(bus: Bus) -> anyhow::Result<Self> {
        Ok(Self {
            bus,
            daemon: pinning::daemon()?,
            began: cursor()?,
            leftovers: Leftovers::at_rest()?,
        })
    }

    pub(super) fn bus(&self) -> &Bus {
        &self.bus
    }

    pub(super) fn daemon(&self) -> u32 {
        self.daemon
    }

    /// How many BPF objects of each kind there were.
    pub(super) fn bpf_objects(&self) -> [usize; 4] {
        self.leftovers.bpf_objects()
    }

    /// Waits until the daemon is on the bus again; the same daemon, which says what the kernel says.
    pub(super) fn follow_the_bus(&mut self) -> anyhow::Result<()> {
        wait::until("daemon on the bus", &true, || {
            Bus::connect().is_ok_and(|bus| {
                self.bus = bus;
                self.bus.number("Switches").is_ok()
            })
        })?;
        self.is_sane("on the bus again")
    }

    /// Checks that the same daemon lives and says what the kernel says.
    pub(super) fn is_sane(&self, what: &str) -> anyhow::Result<()> {
        ensure!(
            pinning::daemon()? == self.daemon,
            "{what}: the daemon was restarted"
        );
        says_what_the_kernel_says(what, &self.bus)
    }

    /// The same; the kernel's own scheduler runs, and there is nothing that was not there before.
    pub(super) fn is_as_before(&self, what: &str) -> anyhow::Result<()> {
        wait::until(what, &"disabled".to_owned(), kernel::state)?;
        self.is_sane(what)?;
        self.leftovers
            .wait_until_nothing_else_is_left()
            .with_context(|| what.to_owned())
    }

    /// What the daemon wrote to the journal since then.
    pub(super) fn journal(&self) -> anyhow::Result<String> {
        journal_since(&self.began)
    }

    /// Checks at the end that switching works as ever, and that nothing panicked meanwhile.
    fn works(&self) -> anyhow::Result<()> {
        switches_there_and_back(&self.bus)?;
        let journal = self.journal()?;
        ensure!(!journal.contains("panicked"), "{journal}");
        Ok(())
    }
}

/// Checks that D-Bus says what the kernel says.
pub(super) fn says_what_the_kernel_says(what: &str, bus: &Bus) -> anyhow::Result<()> {
    let now = || (kernel::enable_seq(), kernel::state(), kernel::scheduler());
    let mut same = None;
    wait::until("a kernel that stays the same for a moment", &true, || {
        let before = now();
        let said = (bus.string("CurrentScheduler"), bus.string("CurrentOwner"));
        let stayed = now() == before;
        same = Some((before.2, said));
        stayed
    })?;
    let (runs, (said, owner)) = same.context("it was asked")?;
    ensure!(
        said == runs && (owner == "none") == (runs == "kernel"),
        "{what}: the kernel runs {runs}, D-Bus says `{said}`, owner `{owner}`"
    );
    Ok(())
}

/// Brings a scheduler in by hand, and leaves it to the policy again, which wants none.
fn switches_there_and_back(bus: &Bus) -> anyhow::Result<()> {
    service::say("auto-ext pin bpfland")?;
    let runs = kernel::scheduler();
    ensure!(runs == "scx_bpfland", "{runs}: {}", bus.string("LastError"));
    says_what_the_kernel_says("pinned", bus)?;
    service::say("auto-ext pin kernel")?;
    service::say("auto-ext unpin")?;
    ensure!(kernel::state() == "disabled" && leftovers::schedulers().is_empty());
    says_what_the_kernel_says("unpinned", bus)
}

/// Starts the service with a policy in which a game brings scx_cosmos, at once and as often as it
/// comes.
pub(super) fn with_a_game() -> anyhow::Result<Bus> {
    write_policy_with_a_game()?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("mode", &"auto".to_owned(), || bus.string("Mode"))?;
    wait::until("processes watched", &true, leftovers::processes_are_watched)?;
    Ok(bus)
}

fn write_policy_with_a_game() -> anyhow::Result<()> {
    write_policy_with_a_game_and("")
}

/// Makes the program of the game, which does nothing.
pub(super) fn install_game() -> anyhow::Result<()> {
    fs::create_dir_all("/usr/local/lib/auto-ext-tests")?;
    fs::copy("/usr/bin/sleep", GAME).with_context(|| format!("failed to write {GAME}"))?;
    Ok(())
}

/// The same with more in it.
fn write_policy_with_a_game_and(more: &str) -> anyhow::Result<()> {
    install_game()?;
    policy::write(&format!(
        "version: 1\nrules:\n  - {{class: game, when: {{process: [the-game]}}, use: [cosmos]}}\n  \
         - {{class: idle, use: [kernel]}}\nstability: {{min_run: 1s, max_switches_per_hour: 1000}}\n{more}"
    ))
}

/// A game that runs until this is dropped.
pub(super) fn game() -> anyhow::Result<Running> {
    load::start(&format!("{GAME} 1000"))
}

/// Checks that a game gets its scheduler, and that it goes with the game; returns how long it took until
/// it was there.
pub(super) fn a_game_is_served() -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let game = game()?;
    wait::until("the game's", &"scx_cosmos".to_owned(), kernel::scheduler)?;
    let took = begun.elapsed();
    drop(game);
    wait::until(
        "the kernel's own after the game",
        &"disabled".to_owned(),
        kernel::state,
    )?;
    Ok(took)
}

/// A place in the journal: its end.
fn cursor() -> anyhow::Result<String> {
    let shown = service::say("journalctl --quiet --lines=0 --show-cursor")?;
    let cursor = shown.rsplit("-- cursor: ").next();
    Ok(cursor.context("no cursor")?.trim().to_owned())
}

fn journal_since(cursor: &str) -> anyhow::Result<String> {
    service::say(&format!(
        "journalctl --quiet --output=cat --unit=auto-ext.service --after-cursor={cursor}"
    ))
}
