//! The service without its threads: a window after the other, and requests in between.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use auto_ext_service::affinity_owner::AffinityOwner;
use auto_ext_service::cpu_list::List;
use auto_ext_service::sanitize::sanitize;

use super::guarded::{Guarded, SERVICE};
use super::history::History;
use super::metrics::{Counters, metrics};
use super::orders::{MAX_EXCLUDED, Orders, OrdersFile, Pause};
use super::processes::Find;
use super::request::{Refusal, Request};
use super::status::{Guest as GuestStatus, Half, Mode, Status};
use super::surroundings::{Surroundings, scheduler};
use crate::action::{Action, Notice};
use crate::config::{Config, GuestConfig, Mode as Acting, Settings, UnderScx};
use crate::controller::{Controller, Done};
use crate::core::{Event, explain, of_guest};
use crate::host::{Host, HostError};
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

/// Makes a host, and who finds its guests' processes.
pub type Connect<H> = Box<dyn FnMut() -> Result<(H, Box<dyn Find>), HostError> + Send>;

/// The service.
pub struct Daemon<H> {
    settings: Settings,
    places: Places,
    connect: Connect<H>,
    controller: Option<Controller<Guarded<H>>>,
    orders: Orders,
    orders_file: OrdersFile,
    history: History,
    /// Those who run that a person wanted to be left as they were found.
    released: BTreeSet<GuestId>,
    around: Surroundings,
    looked_around: Option<Instant>,
    /// Why nothing can be seen.
    trouble: Option<String>,
    last_error: String,
    counters: Counters,
}

impl<H: Host> Daemon<H> {
    /// Begins. Nothing is seen before the first window.
    #[must_use]
    pub fn new(settings: Settings, places: Places, connect: Connect<H>) -> Self {
        let orders_file = OrdersFile::new(&places.state);
        let mut history = History::read(&places.state);
        history.add("started");
        Self {
            orders: orders_file.read(),
            orders_file,
            history,
            settings,
            places,
            connect,
            controller: None,
            released: BTreeSet::new(),
            around: Surroundings::default(),
            looked_around: None,
            trouble: Some("nothing has been looked at yet".to_owned()),
            last_error: String::new(),
            counters: Counters::default(),
        }
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
                let guests = &controller.snapshot().guests;
                let runs = |id: &GuestId| guests.iter().any(|guest| guest.id == *id);
                self.released.retain(runs);
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
        let (host, find) = (self.connect)().map_err(said)?;
        let owner = AffinityOwner::new(&self.places.affinity, SERVICE);
        if let Err(error) = owner.sweep(&self.places.root) {
            tracing::warn!("{}: {error}", self.places.affinity.display());
        }
        let host = Guarded::new(host, find, owner, self.settings.cpu.pin_by);
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
    fn placed_by(&self) -> Option<String> {
        let pauses = self.settings.cpu.under_scx == UnderScx::Pause;
        match (&self.around.scheduler, self.around.places) {
            (Some(name), _) if pauses => Some(format!("a sched_ext scheduler runs ({name})")),
            (_, Some(name)) => Some(format!("{name} runs, which places them too")),
            _ => None,
        }
    }

    /// Why memory is only watched, whatever is configured.
    fn memory_is_kept(&self) -> Option<String> {
        let rival = self.around.balloons;
        let rival = rival.map(|name| format!("{name} runs, which changes it too"));
        self.orders.memory_observes.clone().or(rival)
    }

    /// What holds for those who were seen last. Who is new is left alone for a window.
    fn config(&self) -> Config {
        let guests = self.guests();
        let names = guests.iter().map(|guest| (&guest.id, &*guest.name));
        let mut config = self.settings.config(names);
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
        if self.orders.cpu_observes.is_some() {
            config.cpu.mode = Acting::Observe;
        }
        if self.memory_is_kept().is_some() {
            config.memory.mode = Acting::Observe;
        }
        config
    }

    fn guests(&self) -> &[Guest] {
        let controller = self.controller.as_ref();
        controller.map_or(&[], |controller| &controller.snapshot().guests)
    }

    fn service_of(&self, guest: &GuestId) -> Option<String> {
        self.controller.as_ref()?.host.service_of(guest)
    }

    fn name(&self, id: &GuestId) -> String {
        let guest = self.guests().iter().find(|guest| guest.id == *id);
        guest.map_or_else(|| id.to_string(), |guest| sanitize(&guest.name))
    }

    fn event(&mut self, event: Event) {
        if let Some(controller) = &mut self.controller {
            let done = controller.event(event);
            self.note(&done);
        }
    }

    /// Counts and tells what was done, and keeps what waits for a person now.
    fn note(&mut self, done: &[Done]) {
        let mut told = Vec::new();
        for done in done {
            self.counters.count(done);
            if let Err(error) = &done.result {
                let why = format!("{}: {error}", self.in_words(&done.action));
                self.last_error = sanitize(&why);
                tracing::warn!("{}", self.last_error);
                continue;
            }
            match &done.action {
                Action::Say(notice) => self.notice(notice),
                Action::Remember(_) => {}
                action => told.push(self.in_words(action)),
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
            let masks = controller.state().originals().masks.clone();
            let kept: BTreeSet<&GuestId> = masks.keys().map(|id| &id.guest).collect();
            controller.host.give_up_all_but(&kept);
        }
    }

    fn in_words(&self, action: &Action) -> String {
        match action {
            Action::Pin(id, cpus) => {
                format!("{}/{} to {}", self.name(&id.guest), id.index, List(cpus))
            }
            Action::Target(id, target) => format!("{} to {target:.0} MiB", self.name(id)),
            Action::Period(id, Some(period)) => {
                format!(
                    "the balloon of {} speaks every {} s",
                    self.name(id),
                    period.as_secs()
                )
            }
            Action::Period(id, None) => format!("the balloon of {} does not speak", self.name(id)),
            Action::Remember(_) => "what was found is kept".to_owned(),
            Action::Say(_) => "a notice".to_owned(),
        }
    }

    fn notice(&mut self, notice: &Notice) {
        let text = notice.in_words(|id| self.name(id));
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

    fn keep_orders(&mut self) -> Result<(), Refusal> {
        self.orders_file.keep(&self.orders).map_err(|error| {
            Refusal::Unavailable(format!(
                "it holds until the service ends, as it cannot be kept: {error}"
            ))
        })
    }

    /// Does what a caller asks, who may.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn request(&mut self, request: Request) -> Result<String, Refusal> {
        request.check()?;
        match request {
            Request::Status => to_json(&self.status()),
            Request::Why(name) => self.why(&name),
            Request::History(count) => to_json(&self.history.last(count)),
            Request::Metrics => {
                let controller = self.controller.as_ref();
                let plan = controller.map(|controller| controller.state().cpu().plan().before);
                Ok(metrics(&self.status(), &self.counters, plan))
            }
            Request::Pause(lasts) => {
                self.orders.pause = Some(Pause::begin(lasts));
                self.event(Event::Paused(lasts));
                self.history.add("paused");
                self.keep_orders().map(|()| String::new())
            }
            Request::Resume => {
                self.orders.pause = None;
                self.orders.cpu_observes = None;
                self.orders.memory_observes = None;
                self.released.clear();
                self.event(Event::Resumed);
                self.history.add("resumed");
                self.keep_orders().map(|()| String::new())
            }
            Request::Exclude(name) => self.exclude(name),
            Request::Include(name) => {
                if !self.orders.excluded.remove(&name) {
                    return Err(Refusal::Invalid(format!(
                        "{} is not excluded",
                        sanitize(&name)
                    )));
                }
                self.history
                    .add(&format!("{} is not excluded any more", sanitize(&name)));
                self.keep_orders().map(|()| String::new())
            }
            Request::Release(None) => {
                self.released = self.guests().iter().map(|guest| guest.id.clone()).collect();
                self.event(Event::Released(None));
                self.history.add("all was released");
                Ok(String::new())
            }
            Request::Release(Some(name)) => {
                let id = self.guest(&name)?.id.clone();
                self.released.insert(id.clone());
                self.event(Event::Released(Some(id)));
                self.history
                    .add(&format!("{} was released", sanitize(&name)));
                Ok(String::new())
            }
        }
    }

    fn exclude(&mut self, name: String) -> Result<String, Refusal> {
        if self.orders.excluded.len() >= MAX_EXCLUDED {
            let message = format!("{MAX_EXCLUDED} guests are excluded already");
            return Err(Refusal::Unavailable(message));
        }
        // It need not run now.
        if let Ok(guest) = self.guest(&name) {
            let id = guest.id.clone();
            self.event(Event::Released(Some(id)));
        }
        self.history
            .add(&format!("{} is excluded", sanitize(&name)));
        self.orders.excluded.insert(name);
        self.keep_orders().map(|()| String::new())
    }

    /// The guest that has this name, or this UUID.
    fn guest(&self, name: &str) -> Result<&Guest, Refusal> {
        let mut guests = self.guests().iter();
        let found = guests.find(|guest| &*guest.name == name || guest.id.to_string() == name);
        found.ok_or_else(|| {
            Refusal::Invalid(format!("no guest that runs is called {}", sanitize(name)))
        })
    }

    fn why(&self, name: &str) -> Result<String, Refusal> {
        let Some(controller) = &self.controller else {
            let why = self.trouble.clone().unwrap_or_default();
            return Err(Refusal::Unavailable(why));
        };
        let guest = self.guest(name)?;
        let state = controller.state();
        let mut text = String::new();
        if let Some(why) = self.left_alone(guest) {
            text += &format!("it is left alone: {why}\n");
        }
        for vcpu in &guest.vcpus {
            let id = crate::snapshot::VcpuId {
                guest: guest.id.clone(),
                index: vcpu.index,
            };
            let known = state.cpu().known().get(&id);
            let demand = known.and_then(|known| known.demand);
            let demand = demand.map_or("not measured yet".to_owned(), |demand| {
                format!("wants {demand:.0} % of a CPU")
            });
            let yielded = known.is_some_and(|known| known.yielded);
            let whose = if vcpu.owners {
                ", pinned by its owner"
            } else if yielded {
                ", left to whoever pinned it, or released"
            } else if state.originals().masks.contains_key(&id) {
                ", pinned here"
            } else {
                ""
            };
            text += &format!(
                "vCPU {}: on {}, {demand}{whose}\n",
                vcpu.index,
                List(&vcpu.mask)
            );
        }
        text += &format!("memory: {}\n", of_guest(state, &guest.id));
        text += explain(state, |id| self.name(id))
            .lines()
            .next()
            .unwrap_or_default();
        text.push('\n');
        Ok(text)
    }

    fn left_alone(&self, guest: &Guest) -> Option<String> {
        if self.orders.excluded.contains(&*guest.name) {
            return Some("a person excluded it".to_owned());
        }
        if self.released.contains(&guest.id) {
            return Some("a person released it".to_owned());
        }
        let service = self.service_of(&guest.id)?;
        Some(format!("{service} decides where it runs"))
    }

    /// What is so now.
    #[must_use]
    pub fn status(&self) -> Status {
        let config = self.config();
        let controller = self.controller.as_ref();
        let text = controller.map(|controller| explain(controller.state(), |id| self.name(id)));
        let pause = self.orders.pause.filter(|pause| pause.left().is_some());
        let acts = |mode: Acting| mode == Acting::Act;
        let cpu_kept = self
            .orders
            .cpu_observes
            .clone()
            .or_else(|| self.placed_by());
        let cpu = Half {
            acts: acts(config.cpu.mode) && cpu_kept.is_none(),
            kept: cpu_kept.unwrap_or_default(),
            standing: text
                .as_deref()
                .and_then(|text| text.lines().next())
                .unwrap_or_default()
                .to_owned(),
        };
        let memory = Half {
            acts: acts(config.memory.mode),
            kept: self.memory_is_kept().unwrap_or_default(),
            standing: String::new(),
        };
        let (mode, reason) = match (&self.trouble, pause) {
            (Some(why), _) => (
                Mode::Unavailable,
                format!("nothing is changed, as nothing can be seen: {why}"),
            ),
            (None, Some(_)) => (
                Mode::Paused,
                "a person wants nothing to be changed".to_owned(),
            ),
            (None, None) if cpu.acts || memory.acts => {
                (Mode::Act, in_charge_of(&cpu, &memory).to_owned())
            }
            (None, None) => (
                Mode::Observe,
                "nothing is changed, it is only said what would be".to_owned(),
            ),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode,
            reason,
            cpu,
            memory,
            host_can_promise: controller
                .and_then(|controller| controller.state().memory().budget()),
            paused_until: pause.map(|pause| match pause {
                Pause::Until(until) => until,
                Pause::Always => 0,
            }),
            guests: self
                .guests()
                .iter()
                .map(|guest| self.guest_status(guest))
                .collect(),
            excluded: self
                .orders
                .excluded
                .iter()
                .map(|name| sanitize(name))
                .collect(),
            last_error: self.last_error.clone(),
        }
    }

    fn guest_status(&self, guest: &Guest) -> GuestStatus {
        let controller = self.controller.as_ref();
        let standing = controller.map(|controller| of_guest(controller.state(), &guest.id));
        GuestStatus {
            name: sanitize(&guest.name),
            uuid: sanitize(&guest.id.to_string()),
            cpus: guest
                .vcpus
                .iter()
                .map(|vcpu| List(&vcpu.mask).to_string())
                .collect(),
            memory: guest.memory.actual,
            memory_max: guest.memory.max,
            standing: standing.unwrap_or_default(),
            left_alone: self.left_alone(guest).unwrap_or_default(),
        }
    }
}

fn in_charge_of(cpu: &Half, memory: &Half) -> &'static str {
    match (cpu.acts, memory.acts) {
        (true, true) => "vCPUs are placed, memory is given and taken",
        (true, false) => "vCPUs are placed",
        _ => "memory is given and taken",
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| Refusal::Unavailable(error.to_string()))
}
