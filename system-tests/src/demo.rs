//! The demonstration: loads come and go, and a timeline shows what the machine makes of it.

use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::load;
use crate::policy::DEFAULT;
use crate::service::{self, Bus};
use crate::{kernel, wait};

/// The time between two looks: more often than each quarter of a second it were an interactive load itself, in an emulated machine.
const ASKED: Duration = Duration::from_millis(300);
/// How long a load goes on once its scheduler runs.
const SHOWN: Duration = Duration::from_secs(4);
/// When a person who watches is told that the machine is slow; emulated ones need a tenth of that mostly.
const SLOW: Duration = Duration::from_secs(60);
/// When the demonstration goes on without what it waits for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Shows every load once.
pub(crate) fn run() -> anyhow::Result<()> {
    let out = &mut std::io::stdout();
    writeln!(out, "preparing the loads")?;
    let _server = load::prepare()?;
    DEFAULT.install()?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("class", &"idle".to_owned(), || bus.string("Class"))?;

    writeln!(
        out,
        "Linux {}, policy: {}\n",
        kernel::release(),
        DEFAULT.name
    )?;
    writeln!(
        out,
        "{:>7}  {:<34} {:<12} {:<14}",
        "time", "load", "class", "in the kernel"
    )?;
    let mut timeline = Timeline {
        start: Instant::now(),
        shown: State::default(),
    };
    // Those that bring a scheduler come first: they are what people want to see.
    let mut loads: Vec<_> = load::ALL[..7].iter().collect();
    loads.sort_by_key(|load| DEFAULT.scheduler_for(load.class) == "kernel");
    for load in loads {
        let began = Instant::now();
        let running = load.start()?;
        timeline.line(out, &format!("starts: {}", load.name), &bus)?;
        let class = timeline.follow(out, &bus, |state| state.class == load.class)?;
        let scheduler = DEFAULT.scheduler_for(load.class);
        timeline.follow(out, &bus, |state| state.scheduler == scheduler)?;
        let enabled = began.elapsed();
        let shown = Instant::now();
        timeline.follow(out, &bus, |_| shown.elapsed() > SHOWN)?;
        drop(running);
        timeline.line(out, "ends", &bus)?;
        let idle = timeline.follow(out, &bus, |state| state.class == "idle")?;
        timeline.follow(out, &bus, |state| state.scheduler == "kernel")?;
        let after = |took: Option<Duration>| {
            took.map_or("not seen".to_owned(), |took| format!("after {took:.1?}"))
        };
        writeln!(
            out,
            "{:>7}  {} {}, {scheduler} runs after {enabled:.1?}, idle again {}",
            "",
            load.class,
            after(class),
            after(idle)
        )?;
    }
    writeln!(out)?;
    write!(out, "{}", service::say("auto-ext status")?)?;
    writeln!(out)?;
    Ok(())
}

/// The class that the daemon sees, and the scheduler in the kernel.
#[derive(Default, PartialEq)]
struct State {
    class: String,
    scheduler: String,
}

impl State {
    fn now(bus: &Bus) -> Self {
        Self {
            class: bus.string("Class"),
            scheduler: kernel::scheduler(),
        }
    }
}

struct Timeline {
    start: Instant,
    shown: State,
}

impl Timeline {
    /// Prints a line for every change until `done`, and returns how long that took; `None` when it did not come.
    fn follow(
        &mut self,
        out: &mut impl std::io::Write,
        bus: &Bus,
        mut done: impl FnMut(&State) -> bool,
    ) -> anyhow::Result<Option<Duration>> {
        let start = Instant::now();
        let mut told = false;
        loop {
            let state = State::now(bus);
            let finished = done(&state);
            if self.shown != state {
                self.show(out, "", state)?;
            }
            if finished {
                return Ok(Some(start.elapsed()));
            }
            if start.elapsed() > SLOW && !told {
                told = true;
                writeln!(out, "{:>7}  this machine is slow or busy; waiting", "")?;
            }
            if start.elapsed() > PATIENCE {
                writeln!(
                    out,
                    "{:>7}  it did not come within {PATIENCE:?}; going on",
                    ""
                )?;
                return Ok(None);
            }
            sleep(ASKED);
        }
    }

    /// Prints a line about now.
    fn line(&mut self, out: &mut impl std::io::Write, load: &str, bus: &Bus) -> anyhow::Result<()> {
        self.show(out, load, State::now(bus))
    }

    fn show(
        &mut self,
        out: &mut impl std::io::Write,
        load: &str,
        state: State,
    ) -> anyhow::Result<()> {
        let time = self.start.elapsed().as_secs_f64();
        let State { class, scheduler } = &state;
        writeln!(out, "{time:>6.1}s  {load:<34} {class:<12} {scheduler:<14}")?;
        self.shown = state;
        Ok(())
    }
}
