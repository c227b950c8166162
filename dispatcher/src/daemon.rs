//! The service: turns what happens into events, has them decided, and carries the actions out.
//!
//! What happens is waited for in `event_loop`. What callers ask is served in `requests`, what comes of
//! switches in `switching`; the bus is kept in `line`, metrics are written and served by `export`,
//! both on the thread of `callers`.

mod callers;
mod event_loop;
mod export;
mod line;
pub(crate) mod requests;
mod switching;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use auto_ext_profiler::{Profiler, Sample, Signals};

use crate::boots::{self, Boots};
use crate::cgroup::Cgroups;
use crate::children::Children;
use crate::clock::{Moments, now_us};
use crate::core::{Action, Event, Failure, Moment, State, decide};
use crate::history::{History, Kind};
use crate::kernel::{self, SchedExt};
use crate::kernel_log::KernelLog;
use crate::metrics::counters::Kept;
use crate::policy::{Policy, Scheduler};
use crate::processes::Processes;
use crate::report::{Current, Thoughts};
use crate::reputation::Reputation;
use crate::scheduler_process::SchedulerProcess;
use crate::surroundings::{Change, PowerSupplies};
use crate::{program, switch};
pub(crate) use event_loop::{Options, run};
use export::Export;
use line::{Heard, Line};
use requests::Holders;
use switching::Switching;

/// Where the history is kept when systemd does not say.
const STATE_DIRECTORY: &str = "/var/lib/auto-ext";
/// Where the counters are, which end with the machine's time.
const RUNTIME_DIRECTORY: &str = "/run/auto-ext";

/// Why the kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// It has told that something changed.
    Told,
    /// A window has ended.
    Window,
}

struct Daemon {
    config: PathBuf,
    policy: Policy,
    state: State,
    moments: Moments,
    sched_ext: SchedExt,
    /// Another daemon may run: nothing is written that is its, and nobody is served in its place.
    beside: bool,
    /// Why edits of the policy are not noticed at once.
    policy_trouble: Option<String>,
    power_supplies: PowerSupplies,
    children: Children,
    cgroups: Cgroups,
    profiler: Profiler,
    processes: Option<Processes>,
    last_sample: Sample,
    /// The scheduler of ours, but during a switch, which then has it.
    running: Option<SchedulerProcess>,
    switching: Option<Switching>,
    holders: Holders,
    history: History,
    reputation: Reputation,
    /// What the reputation says of the time before, until it has been taken in.
    failed_before: Vec<Failure>,
    /// None where nothing is started, or nothing can be kept.
    boots: Option<Boots>,
    kernel_log: KernelLog,
    line: Option<Line>,
    kept: Kept,
    export: Export,
    /// What the kernel ran when it was last looked at (its name, and which enabling), and since when.
    current: (String, Option<u64>),
    since: u64,
    /// What the kernel ran when a change was last announced.
    told: Current,
    switches: u64,
    /// What ran after the last change that was counted.
    counted: String,
}

impl Daemon {
    fn new(
        config: PathBuf,
        policy: Policy,
        observe: bool,
        beside: bool,
        mut profiler: Profiler,
        export: Export,
    ) -> Self {
        let cgroups = if beside {
            Cgroups::of(None)
        } else {
            Cgroups::take_over()
        };
        if let Some(service) = cgroups.service() {
            profiler.leave_out(service);
        }
        let sched_ext = SchedExt::below("/sys".as_ref());
        let children = Children::default();
        let told = Current::read(&sched_ext, &children);
        let state_directory = directory("STATE_DIRECTORY", STATE_DIRECTORY);
        let (history, kept) = if beside {
            (History::of_another(&state_directory), Kept::in_memory())
        } else {
            let runtime_directory = directory("RUNTIME_DIRECTORY", RUNTIME_DIRECTORY);
            (
                History::open(&state_directory),
                Kept::open(&runtime_directory),
            )
        };
        let (reputation, failed_before) =
            Reputation::open(&state_directory, kernel::release(), now_us());
        Self {
            config,
            state: State::new(&policy, observe),
            policy,
            moments: Moments::begin(),
            current: (told.current_scheduler.clone(), told.instance),
            counted: told.current_scheduler.clone(),
            told,
            sched_ext,
            beside,
            policy_trouble: None,
            power_supplies: PowerSupplies::below("/sys".as_ref()),
            children,
            cgroups,
            last_sample: profiler.sample(),
            profiler,
            processes: None,
            running: None,
            switching: None,
            holders: Holders::default(),
            history,
            reputation,
            failed_before,
            boots: None,
            kernel_log: KernelLog::open("/dev/kmsg".as_ref()),
            line: None,
            kept,
            export,
            since: now_us(),
            switches: 0,
        }
    }

    fn now(&self) -> Moment {
        self.moments.now()
    }

    fn thoughts(&self) -> Thoughts {
        let mut thoughts = Thoughts::of(
            &self.policy,
            &self.state,
            self.now(),
            now_us(),
            self.since,
            self.switches,
        );
        // What went wrong with schedulers and policies is worth more.
        if let Some(trouble) = &self.policy_trouble
            && thoughts.last_error.is_empty()
        {
            thoughts.last_error.clone_from(trouble);
        }
        thoughts
    }

    /// Has an event decided, carries out what comes of it, and shows the result.
    async fn happened(&mut self, event: Event) {
        // Not all machines say that they sleep, and what happened meanwhile may be heard of first.
        if let Some(slept) = self.moments.slept() {
            tracing::debug!("the machine slept for {slept:?}");
            self.decided(Event::Slept(slept));
        }
        self.decided(event);
        self.show().await;
    }

    /// Has an event decided, and carries out what comes of it.
    fn decided(&mut self, event: Event) {
        let class = self.state.class().to_owned();
        let safe = self.state.is_safe();
        let (state, actions) = decide(&self.policy, &self.state, event, self.now());
        self.state = state;
        if self.state.class() != class {
            tracing::debug!(
                class = self.state.class(),
                reason = self.state.reason(),
                "new class"
            );
        }
        if self.state.is_safe() && !safe {
            tracing::error!("{}", self.state.reason());
        }
        if !self.beside {
            self.reputation
                .keep(self.state.failures(), self.now(), now_us());
        }
        for action in actions {
            match action {
                Action::Switch {
                    to,
                    reason,
                    replace_foreign,
                } => self.begin_switch(to, reason, replace_foreign),
                Action::Cancel => self.cancel_switch(),
            }
        }
    }

    /// Shows what the kernel runs and what is thought of it.
    async fn show(&mut self) {
        let current = self.read_current();
        let thoughts = self.thoughts();
        self.export.something_happened();
        if let Some(line) = &self.line {
            line.show(current, thoughts);
        }
    }

    /// Asks the kernel, and takes note of when what it says changed.
    fn read_current(&mut self) -> Current {
        let current = Current::read(&self.sched_ext, &self.children);
        let which = (current.current_scheduler.clone(), current.instance);
        if which != self.current {
            self.current = which;
            self.since = now_us();
        }
        current
    }

    async fn window(&mut self) {
        let sample = self.profiler.sample();
        let signals = Signals::between(&self.last_sample, &sample, self.profiler.machine());
        let dt = Duration::from_nanos(sample.at_ns.saturating_sub(self.last_sample.at_ns));
        self.last_sample = sample;
        let counters = self.kept.counters();
        counters.passed(dt, &self.current.0, self.state.class());
        self.ask_kernel(Occasion::Window).await;
        if let Some(signals) = signals {
            self.happened(Event::Window { dt, signals }).await;
        }
    }

    /// Asks the kernel what runs, has a change decided on, and announces it if it is not of our making.
    async fn ask_kernel(&mut self, occasion: Occasion) {
        let current = Current::read(&self.sched_ext, &self.children);
        let ours = current.is_ours();
        let known = *self.state.kernel() == current.state && self.state.ours() == ours;
        if known && current.which() == self.told.which() {
            return;
        }
        // The switches of our own are announced when they have ended, with their gap.
        let switching = self.switching.is_some();
        if !known {
            let state = current.state.clone();
            self.happened(Event::Kernel { state, ours }).await;
        }
        if let Some(scheduler) = self.running_unseated()
            && let Some(end) = self.kernel_log.ejection()
        {
            self.scheduler_ejected(scheduler, end).await;
        }
        if switching || current.which() == self.told.which() {
            return;
        }
        let (from, to) = (&self.told.current_scheduler, &current.current_scheduler);
        let reason = match (self.told.is_ours(), ours) {
            // The end of its process says more, and mostly comes in a moment.
            (true, false) if occasion == Occasion::Told && self.running.is_some() => return,
            (true, false) if current.current_owner == "none" => format!("{from} lost its seat"),
            (_, true) => format!("{to} loaded itself again"),
            (_, false) => "not by auto-ext".to_owned(),
        };
        tracing::info!(scheduler = to, from, "{from} -> {to}: {reason}");
        let somebody = !ours && (!self.told.is_ours() || current.current_owner == "foreign");
        if somebody {
            let (from, to) = (from.clone(), to.clone());
            self.record(Kind::Foreign, &from, &to, &reason, "");
        }
        let stays = somebody || self.running.is_none();
        self.announce(current, &reason, 0, stays).await;
    }

    /// The scheduler that should run and has not ended, but that the kernel does not run.
    fn running_unseated(&self) -> Option<Scheduler> {
        let unseated = self.switching.is_none() && !self.state.ours();
        let process = self.running.as_ref().filter(|_| unseated)?;
        Some(process.scheduler().clone())
    }

    /// Asks the kernel and has its answer decided on, changed or not; returns what runs.
    async fn take_in_kernel(&mut self) -> Current {
        let current = Current::read(&self.sched_ext, &self.children);
        let ours = current.is_ours();
        let state = current.state.clone();
        self.happened(Event::Kernel { state, ours }).await;
        current
    }

    /// Follows processes if the policy asks about them; all there are come as the first event.
    fn follow_processes(&mut self) {
        match &mut self.processes {
            // What is not asked about costs nothing.
            _ if !self.policy.asks_about_processes() => self.processes = None,
            Some(processes) => processes.tell_all_again(),
            None => self.processes = Some(Processes::follow()),
        }
    }

    async fn look_at_power(&mut self) {
        let power = self.power_supplies.read();
        if self.state.power() != power {
            self.happened(Event::Power(power)).await;
        }
    }

    async fn surroundings_changed(&mut self, change: Change) {
        match change {
            Change::Profile(profile) if self.state.profile() != profile => {
                self.happened(Event::Profile(profile)).await;
            }
            Change::Profile(_) => {}
            Change::Sleep { begins } if begins == self.state.asleep => {}
            Change::Sleep { begins: true } => self.happened(Event::FallsAsleep).await,
            Change::Sleep { begins: false } => {
                // What was counted while the machine slept belongs to no window.
                self.last_sample = self.profiler.sample();
                self.happened(Event::WakesUp).await;
            }
        }
    }

    /// Takes in what happened before the daemon was started.
    async fn look_at_the_past(&mut self, observe: bool) {
        let failures = std::mem::take(&mut self.failed_before);
        self.happened(Event::Remembered(failures)).await;
        if observe {
            return;
        }
        match Boots::begin(&directory("STATE_DIRECTORY", STATE_DIRECTORY), "/".as_ref()) {
            Ok(boots) => {
                let failed = boots.failed_before();
                self.boots = Some(boots);
                if failed >= boots::TOO_MANY {
                    let why = format!(
                        "the machine went down {failed} times in a row soon after auto-ext was started"
                    );
                    self.happened(Event::Distrusted { why }).await;
                }
            }
            Err(error) => tracing::warn!("failed boots are not noticed: {error}"),
        }
    }

    /// Takes note of that, without waiting for the disk; what is returned does.
    fn boot_is_good(&mut self) -> impl Future<Output = ()> + use<> {
        let trusted = !self.state.is_safe();
        let boots = self.boots.as_mut().map(|boots| {
            boots.good(trusted);
            boots.clone()
        });
        let written =
            tokio::task::spawn_blocking(move || boots.map_or(Ok(()), |boots| boots.write()));
        async {
            let written = written.await;
            if let Err(error) = written.expect("who writes neither panics nor is aborted") {
                tracing::warn!("this boot will count as a failed one: {error}");
            }
        }
    }

    async fn line_told(&mut self, heard: Heard) {
        match heard {
            // The callers have left with the bus they were on; those of the next have other names.
            Heard::Cut(taken) => {
                for cookie in self.holders.clear() {
                    self.happened(Event::Released { cookie }).await;
                }
                // The line may have been let go.
                let _ = taken.send(());
            }
            Heard::Surroundings(change) => self.surroundings_changed(change).await,
        }
    }

    /// Ends a scheduler that spins.
    fn look_at_appetite(&mut self) {
        let has_seat = self.state.ours();
        if let Some(running) = &mut self.running {
            running.kill_if_it_spins(has_seat, Instant::now());
        }
    }

    async fn look_for_programs(&mut self) {
        for command in self.reputation.replaced() {
            tracing::info!("{command} was replaced, its failures are forgotten");
            self.happened(Event::Forgiven { command }).await;
        }
        let installed = program::installed(&self.policy);
        if *self.state.installed() != installed {
            self.happened(Event::Installed(installed)).await;
        }
    }

    /// Announces that the kernel runs `current`, which it did not when a change was last announced. Whether it is there to
    /// stay is what `Switches` counts: a scheduler may lose its seat to load itself again.
    async fn announce(&mut self, current: Current, reason: &str, gap_us: u64, counts: bool) {
        if counts {
            self.switches += 1;
            self.counted.clone_from(&current.current_scheduler);
        }
        let before = std::mem::replace(&mut self.told, current);
        self.show().await;
        if let Some(line) = &self.line {
            let (from, to) = (&before.current_scheduler, &self.told.current_scheduler);
            line.switched(from, to, reason, gap_us);
        }
    }

    /// Announces what the kernel runs if it is not what was last announced, and it is there to stay.
    async fn announce_change(&mut self, reason: &str) {
        let current = Current::read(&self.sched_ext, &self.children);
        if current.which() != self.told.which() {
            return self.announce(current, reason, 0, true).await;
        }
        if current.current_scheduler != self.counted {
            self.switches += 1;
            self.counted = current.current_scheduler;
        }
        self.show().await;
    }

    /// Leaves the machine with the kernel's own scheduler, whatever is on its way. `error` is why it does not go on;
    /// empty when it was asked to end.
    async fn stop(mut self, error: &str) {
        if let Some(switching) = self.switching.take() {
            self.running = switching.end().await;
        }
        if let Some(mut running) = self.running.take()
            && let Err(error) = switch::stop(&self.sched_ext, &self.children, &mut running).await
        {
            let scheduler = &running.scheduler().name;
            tracing::error!(scheduler, "{scheduler} cannot be stopped: {error}");
        }
        let (before, now) = (self.current.0.clone(), self.read_current());
        let now = now.current_scheduler;
        self.record(Kind::Stopped, &before, &now, "", error);
        self.announce_change("auto-ext was stopped").await;
        self.export.end();
        if let Some(line) = self.line.take() {
            line.leave().await;
        }
        self.boot_is_good().await;
        self.history.close();
        self.reputation.close();
    }
}

/// Where the daemon keeps what outlives it: the first directory that systemd gives by `variable`,
/// else where systemd would have it.
fn directory(variable: &str, otherwise: &str) -> PathBuf {
    let given = std::env::var_os(variable);
    let given = given.and_then(|given| std::env::split_paths(&given).next());
    given.unwrap_or_else(|| otherwise.into())
}
