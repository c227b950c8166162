//! The service without its threads: a window after the other, and requests in between.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use auto_ext_service::affinity_owner::AffinityOwner;
use auto_ext_service::sanitize::sanitize;

use super::guarded::{Guarded, SERVICE};
use super::history::History;
use super::metrics::Counters;
use super::names::Names;
use super::orders::{Orders, OrdersFile, Pause};
use super::request::Refusal;
use super::surroundings::{Surroundings, scheduler};
use crate::action::{Action, Notice};
use crate::config::{Config, GuestConfig, Mode as Acting, PinBy, Settings, UnderScx};
use crate::controller::{Controller, Done};
use crate::core::Event;
use crate::host::{Host, HostError};
use crate::kernel::Kernel;
use crate::remembered::{Remembered, RememberedError};
use crate::snapshot::{Guest, GuestId};

/// How often it is looked for who else is at work, which takes a look at all processes.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(30);
/// How many changes of one window are told one by one.
const TOLD: usize = 16;

/// Where the service keeps and finds things.
#[derive(Clone, Debug)]
pub struct Places {
    /// What outlives the machine: `/var/lib/auto-ext-vm`.
    pub state: PathBuf,
    /// What outlives the service: `/run/auto-ext-vm`.
    pub run: PathBuf,
    /// Who decides where processes run, see `affinity_owner`.
    pub affinity: PathBuf,
    /// Below which /proc and /sys are.
    pub root: PathBuf,
}

/// Makes the host that is wanted.
pub type Connect<H> = Box<dyn FnMut(&Settings) -> Result<H, HostError> + Send>;
/// Reads what the owner wants; or says what is wrong with it, with its places.
pub type Configuration = Box<dyn FnMut() -> Result<Settings, String> + Send>;

/// The service.
pub struct Daemon<H> {
    settings: Settings,
    configuration: Configuration,
    places: Places,
    connect: Connect<H>,
    pub(super) controller: Option<Controller<Guarded<H>>>,
    pub(super) orders: Orders,
    orders_file: OrdersFile,
    pub(super) history: History,
    /// Those who run that a person wanted to be left as they were found.
    pub(super) released: BTreeSet<GuestId>,
    around: Surroundings,
    looked_around: Option<Instant>,
    /// Why nothing can be seen.
    pub(super) trouble: Option<String>,
    pub(super) last_error: String,
    pub(super) counters: Counters,
}

impl<H: Host> Daemon<H> {
    /// Begins. Nothing is seen before the first window.
    #[must_use]
    pub fn new(configuration: Configuration, places: Places, connect: Connect<H>) -> Self {
        let orders_file = OrdersFile::new(&places.state);
        let mut history = History::read(&places.state);
        history.add("started");
        let mut daemon = Self {
            settings: Settings::default(),
            configuration,
            orders: orders_file.read(),
            orders_file,
            history,
            places,
            connect,
            controller: None,
            released: BTreeSet::new(),
            around: Surroundings::default(),
            looked_around: None,
            trouble: Some("nothing has been looked at yet".to_owned()),
            last_error: String::new(),
            counters: Counters::default(),
        };
        match (daemon.configuration)() {
            Ok(settings) => daemon.settings = settings,
            // It is not known what the owner wants: then nothing is changed.
            Err(why) => daemon.is_invalid(&why, "nothing is changed"),
        }
        daemon
    }

    /// Reads the configuration again. With one that has changed all begins anew, after what was found was put back; with one that is
    /// invalid the last good one holds.
    pub fn reload(&mut self) {
        match (self.configuration)() {
            Ok(settings) => {
                self.last_error.clear();
                if settings == self.settings {
                    self.history.add("the configuration is as it was");
                    return;
                }
                self.event(Event::Exit);
                self.controller = None;
                self.settings = settings;
                self.history.add("the configuration was read again");
                tracing::info!("the configuration was read again");
            }
            Err(why) => self.is_invalid(&why, "the configuration stays as it was"),
        }
    }

    fn is_invalid(&mut self, why: &str, so: &str) {
        // Each of its lines is one thing that is wrong.
        let why: Vec<String> = why.lines().map(sanitize).collect();
        self.last_error = format!("{so}: {}", why.join("; "));
        tracing::error!("{}", self.last_error);
        self.history.add(&self.last_error);
    }

    /// How long a window is.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.settings.interval
    }

    /// The end of a window: looks, and has done what is to be done.
    pub fn window(&mut self) {
        self.look_around();
        if let Err(why) = self.be_connected() {
            self.is_in_trouble(&why);
            return;
        }
        let config = self.config();
        let placed_by = self.placed_by();
        let Some(controller) = &mut self.controller else {
            return;
        };
        controller.configure(config);
        let mut done = controller.event(Event::PlacedByOthers(placed_by));
        let looked = controller.look();
        match looked {
            Ok(more) => {
                done.extend(more);
                let runs = controller.snapshot().by_id();
                self.released.retain(|id| runs.contains_key(id));
                self.counters.windows += 1;
                if self.trouble.take().is_some() {
                    self.history.add("the host is seen");
                }
            }
            Err(error) => self.is_in_trouble(&sanitize(&error.to_string())),
        }
        self.note(&done);
    }

    /// Puts back what was found. Nothing is done after that.
    pub fn end(&mut self) {
        self.event(Event::Exit);
        self.history.add("stopped");
    }

    fn is_in_trouble(&mut self, why: &str) {
        if self.trouble.as_deref() != Some(why) {
            tracing::warn!("nothing can be seen: {why}");
            self.history.add(&format!("nothing can be seen: {why}"));
            self.trouble = Some(why.to_owned());
        }
    }

    fn be_connected(&mut self) -> Result<(), String> {
        if self.controller.is_some() {
            return Ok(());
        }
        let said = |error: HostError| sanitize(&error.to_string());
        let host = (self.connect)(&self.settings).map_err(said)?;
        let owner = AffinityOwner::new(&self.places.affinity, SERVICE);
        if let Err(error) = owner.sweep(&self.places.root) {
            tracing::warn!("{}: {error}", self.places.affinity.display());
        }
        let kernel = Kernel::new(&self.places.root);
        // Without libvirt it is the kernel that pins, and the host knows which threads.
        let pin_by = if self.settings.qmp.is_empty() {
            self.settings.cpu.pin_by
        } else {
            PinBy::Libvirt
        };
        let host = Guarded::new(host, kernel, owner, pin_by);
        let said = |error: RememberedError| error.to_string();
        let remembered =
            Remembered::hold(&self.places.state.join("originals.json")).map_err(said)?;
        let controller = Controller::new(host, Config::default(), Some(remembered));
        self.controller = Some(controller.map_err(said)?);
        // A pause that a person wanted of an earlier life.
        if let Some(left) = self.orders.pause.and_then(Pause::left) {
            self.event(Event::Paused(left));
        }
        Ok(())
    }

    fn look_around(&mut self) {
        let is_due = self
            .looked_around
            .is_none_or(|at| at.elapsed() >= LOOK_AROUND_EVERY);
        if is_due {
            self.around = Surroundings::read(&self.places.root);
            self.looked_around = Some(Instant::now());
        } else {
            self.around.scheduler = scheduler(&self.places.root);
        }
    }

    /// Who places vCPUs in our place.
    pub(super) fn placed_by(&self) -> Option<String> {
        let pauses = self.settings.cpu.under_scx == UnderScx::Pause;
        match (&self.around.scheduler, self.around.places) {
            (Some(name), _) if pauses => Some(format!("a sched_ext scheduler runs ({name})")),
            (_, Some(name)) => Some(format!("{name} runs, which places them too")),
            _ => None,
        }
    }

    /// Why memory is only watched, whatever is configured.
    pub(super) fn memory_is_kept(&self) -> Option<String> {
        let rival = self.around.balloons;
        let rival = rival.map(|name| format!("{name} runs, which changes it too"));
        self.orders.memory_observes.clone().or(rival)
    }

    /// What holds for those who were seen last. Who is new is left alone for a window.
    pub(super) fn config(&self) -> Config {
        let guests = self.guests();
        let mut config = self.config_of(guests);
        let left_alone = GuestConfig {
            cpu: false,
            memory: false,
            ..GuestConfig::default()
        };
        for guest in guests {
            let of = config.guests.entry(guest.id.clone()).or_default();
            let is_excluded = self.orders.excluded.contains(&*guest.name);
            if is_excluded || self.released.contains(&guest.id) {
                *of = left_alone.clone();
            } else if self.service_of(&guest.id).is_some() {
                of.cpu = false;
            }
        }
        config.others = left_alone;
        config
    }

    /// What is configured of these, and which halves act, where nothing is said of single guests.
    pub(super) fn config_of(&self, guests: &[Guest]) -> Config {
        let names = guests.iter().map(|guest| (&guest.id, &*guest.name));
        let mut config = self.settings.config(names);
        if self.orders.cpu_observes.is_some() {
            config.cpu.mode = Acting::Observe;
        }
        if self.memory_is_kept().is_some() {
            config.memory.mode = Acting::Observe;
        }
        config
    }

    pub(super) fn guests(&self) -> &[Guest] {
        let controller = self.controller.as_ref();
        controller.map_or(&[], |controller| &controller.snapshot().guests)
    }

    pub(super) fn service_of(&self, guest: &GuestId) -> Option<String> {
        self.controller.as_ref()?.host.service_of(guest)
    }

    pub(super) fn event(&mut self, event: Event) {
        if let Some(controller) = &mut self.controller {
            let done = controller.event(event);
            self.note(&done);
        }
    }

    /// Counts and tells what was done, and keeps what waits for a person now.
    fn note(&mut self, done: &[Done]) {
        // Most windows say nothing of anybody.
        let guests: &[Guest] = if done.is_empty() { &[] } else { self.guests() };
        let names = Names::of(guests);
        let mut told = Vec::new();
        for done in done {
            self.counters.count(done);
            if let Err(error) = &done.result {
                let why = format!("{}: {error}", names.in_words(&done.action));
                self.last_error = sanitize(&why);
                tracing::warn!("{}", self.last_error);
                continue;
            }
            match &done.action {
                Action::Say(notice) => self.notice(notice, &names),
                Action::Remember(_) => {}
                action => told.push(names.in_words(action)),
            }
        }
        if !told.is_empty() {
            let more = told.len().saturating_sub(TOLD);
            told.truncate(TOLD);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            self.history.add(&format!("{}{more}", told.join(", ")));
        }
        if let Some(controller) = &mut self.controller {
            let masks = &controller.state().originals().masks;
            let kept = masks.keys().map(|id| id.guest.clone()).collect();
            controller.host.give_up_all_but(&kept);
        }
    }

    fn notice(&mut self, notice: &Notice, names: &Names) {
        let text = notice.in_words(|id| names.get(id));
        match notice {
            Notice::CpuObserves(why) => self.orders.cpu_observes = Some(why.clone()),
            Notice::MemoryObserves(why) => self.orders.memory_observes = Some(why.clone()),
            Notice::Yielded(_) | Notice::PutBack(_) | Notice::HostShort => {}
        }
        tracing::warn!("{text}");
        self.history.add(&text);
        if matches!(notice, Notice::CpuObserves(_) | Notice::MemoryObserves(_))
            && let Err(refusal) = self.keep_orders()
        {
            self.last_error = refusal.to_string();
        }
    }

    pub(super) fn keep_orders(&mut self) -> Result<(), Refusal> {
        self.orders_file.keep(&self.orders).map_err(|error| {
            Refusal::Unavailable(format!(
                "it holds until the service ends, as it cannot be kept: {error}"
            ))
        })
    }
}
