//! The demonstration: loads come and go, and a timeline shows what the machine makes of it.

use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::load;
use crate::policy::ALL_DIFFERENT;
use crate::service::{self, Bus};
use crate::{kernel, wait};

/// How long a load goes on once its scheduler runs.
const SHOWN: Duration = Duration::from_secs(4);

/// Shows every load once.
pub(crate) fn run() -> anyhow::Result<()> {
    let out = &mut std::io::stdout();
    writeln!(out, "preparing the loads")?;
    let _server = load::prepare()?;
    ALL_DIFFERENT.install()?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("class", &"idle".to_owned(), || bus.string("Class"))?;

    writeln!(
        out,
        "Linux {}, policy: {}\n",
        kernel::release(),
        ALL_DIFFERENT.name
    )?;
    writeln!(
        out,
        "{:>7}  {:<34} {:<12} {:<14}",
        "time", "load", "class", "in the kernel"
    )?;
    let mut timeline = Timeline {
        start: Instant::now(),
        shown: (String::new(), String::new()),
    };
    for load in &load::ALL[..7] {
        let began = Instant::now();
        let running = load.start()?;
        timeline.line(out, &format!("starts: {}", load.name), &bus)?;
        let class = timeline.follow(out, &bus, || bus.string("Class") == load.class)?;
        let scheduler = ALL_DIFFERENT.scheduler_for(load.class);
        timeline.follow(out, &bus, || kernel::scheduler() == scheduler)?;
        let enabled = began.elapsed();
        let shown = Instant::now();
        timeline.follow(out, &bus, || shown.elapsed() > SHOWN)?;
        drop(running);
        timeline.line(out, "ends", &bus)?;
        let idle = timeline.follow(out, &bus, || bus.string("Class") == "idle")?;
        timeline.follow(out, &bus, || kernel::scheduler() == "kernel")?;
        writeln!(
            out,
            "{:>7}  {} after {class:.1?}, {scheduler} enabled after {enabled:.1?}, idle again after {idle:.1?}",
            "", load.class
        )?;
    }
    writeln!(out)?;
    write!(out, "{}", service::say("auto-ext status")?)?;
    writeln!(out)?;
    Ok(())
}

struct Timeline {
    start: Instant,
    shown: (String, String),
}

impl Timeline {
    /// Prints a line for every change until `done`, and returns how long that took.
    fn follow(
        &mut self,
        out: &mut impl std::io::Write,
        bus: &Bus,
        mut done: impl FnMut() -> bool,
    ) -> anyhow::Result<Duration> {
        let start = Instant::now();
        loop {
            let finished = done();
            if self.shown != (bus.string("Class"), kernel::scheduler()) {
                self.line(out, "", bus)?;
            }
            if finished {
                return Ok(start.elapsed());
            }
            anyhow::ensure!(
                start.elapsed() < Duration::from_secs(120),
                "nothing more happens"
            );
            sleep(Duration::from_millis(50));
        }
    }

    fn line(&mut self, out: &mut impl std::io::Write, load: &str, bus: &Bus) -> anyhow::Result<()> {
        self.shown = (bus.string("Class"), kernel::scheduler());
        let (class, scheduler) = &self.shown;
        let time = self.start.elapsed().as_secs_f64();
        writeln!(out, "{time:>6.1}s  {load:<34} {class:<12} {scheduler:<14}")?;
        Ok(())
    }
}
