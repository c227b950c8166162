//! What the service answers: to requests, and what is so now.

use auto_ext_service::cpu_list::List;
use auto_ext_service::sanitize::sanitize;

use super::bus::Shown;
use super::metrics::metrics;
use super::orders::{MAX_EXCLUDED, Pause};
use super::request::{Refusal, Request};
use super::status::{Guest as GuestStatus, Half, Mode, Status};
use super::work::Daemon;
use crate::config::Mode as Acting;
use crate::core::{Event, of_guest, of_vcpus};
use crate::host::Host;
use crate::snapshot::{Guest, VcpuId};

impl<H: Host> Daemon<H> {
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
        let (None, Some(controller)) = (&self.trouble, &self.controller) else {
            let why = self.trouble.clone().unwrap_or_default();
            return Err(Refusal::Unavailable(format!("nothing can be seen: {why}")));
        };
        let guest = self.guest(name)?;
        let state = controller.state();
        let mut text = String::new();
        if let Some(why) = self.left_alone(guest) {
            text += &format!("it is left alone: {why}\n");
        }
        for vcpu in &guest.vcpus {
            let id = VcpuId {
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
        text += &of_vcpus(state);
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
        let controller = self.controller.as_ref();
        let [cpu, memory] = self.halves();
        let pause = self.pause();
        let (mode, reason) = self.mode(&cpu, &memory);
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
                .seen()
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

    /// What of that is told to all who listen, after each window.
    pub(super) fn shown(&self) -> Shown {
        let [cpu, memory] = self.halves();
        let (mode, reason) = self.mode(&cpu, &memory);
        Shown {
            mode: mode.name(),
            reason,
            guests: u32::try_from(self.seen().len()).unwrap_or(u32::MAX),
        }
    }

    /// The guests; none where nothing can be seen: what was seen before is not so any more.
    fn seen(&self) -> &[Guest] {
        if self.trouble.is_none() {
            self.guests()
        } else {
            &[]
        }
    }

    fn pause(&self) -> Option<Pause> {
        self.orders.pause.filter(|pause| pause.left().is_some())
    }

    fn halves(&self) -> [Half; 2] {
        let config = self.config_of(&[]);
        let controller = self.controller.as_ref();
        let acts = |mode: Acting| self.trouble.is_none() && mode == Acting::Act;
        let cpu_kept = self.orders.cpu_observes.clone();
        let cpu_kept = cpu_kept.or_else(|| self.placed_by());
        let cpu = Half {
            acts: acts(config.cpu.mode) && cpu_kept.is_none(),
            kept: cpu_kept.unwrap_or_default(),
            standing: controller
                .map_or_else(String::new, |controller| of_vcpus(controller.state())),
        };
        let memory = Half {
            acts: acts(config.memory.mode),
            kept: self.memory_is_kept().unwrap_or_default(),
            standing: String::new(),
        };
        [cpu, memory]
    }

    fn mode(&self, cpu: &Half, memory: &Half) -> (Mode, String) {
        match (&self.trouble, self.pause()) {
            (Some(why), _) => (
                Mode::Unavailable,
                format!("nothing is changed, as nothing can be seen: {why}"),
            ),
            (None, Some(_)) => (
                Mode::Paused,
                "a person wants nothing to be changed".to_owned(),
            ),
            (None, None) if cpu.acts || memory.acts => {
                (Mode::Act, in_charge_of(cpu, memory).to_owned())
            }
            (None, None) => (
                Mode::Observe,
                "nothing is changed, it is only said what would be".to_owned(),
            ),
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
