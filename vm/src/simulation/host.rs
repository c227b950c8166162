//! The host: CPUs that are shared fairly, guests, and what is left of its memory.

use std::collections::BTreeMap;
use std::time::Duration;

use auto_ext_service::affinity_owner::Process;

use crate::action::Action;
use crate::core::Event;
use crate::host::{self, HostError};
use crate::moment::Moment;
use crate::snapshot::{Fixed, Guest, GuestId, Mib, Snapshot, Vcpu, VcpuId};
use crate::topology::{Cpu, Cpus, FULL_CAPACITY};

use super::balloon::Balloon;

/// A CPU.
#[derive(Clone, Debug)]
pub struct SimCpu {
    /// What it is.
    pub cpu: Cpu,
    /// What runs on it that is no guest's, in percent of a CPU of full speed.
    pub task: f64,
    /// What of what is left niced work of no guest takes, in percent of a CPU of full speed.
    pub niced: f64,
    /// What others take from it without anybody seeing it, in percent.
    pub stolen: f64,
    busy: Duration,
    busy_niced: Duration,
}

/// A vCPU.
#[derive(Clone, Debug)]
pub struct SimVcpu {
    /// What it wants, in percent of a CPU of full speed.
    pub wants: f64,
    /// Where it may run.
    pub mask: Cpus,
    /// Where cgroups let it run.
    pub allowed: Cpus,
    /// The owner pinned it.
    pub owners: bool,
    run: Duration,
    wait: Duration,
}

/// A guest.
#[derive(Clone, Debug)]
pub struct SimGuest {
    /// What it is known by.
    pub id: GuestId,
    /// When it began.
    pub began: Moment,
    /// A job is under way.
    pub job: bool,
    /// What it is told is done only from this step on.
    pub hangs_until: u32,
    /// Its home node.
    pub home: Option<u32>,
    /// Its vCPUs.
    pub vcpus: Vec<SimVcpu>,
    /// Its memory.
    pub balloon: Balloon,
}

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// How many steps were made.
    pub step: u32,
    /// How long each is.
    pub interval: Duration,
    /// Its CPUs.
    pub cpus: Vec<SimCpu>,
    /// Its guests.
    pub guests: Vec<SimGuest>,
    /// What memory it has, guests' included.
    pub memory: Mib,
    /// What was pinned, and in which step.
    pub pins: Vec<(u32, VcpuId, Cpus)>,
    /// What guests were told to have, and in which step.
    pub targets: Vec<(u32, GuestId, Mib)>,
    /// Who was lost.
    pub lost: Vec<GuestId>,
    /// The least that the host had available.
    pub least_available: Mib,
    waiting: Vec<Action>,
    noise: Option<fastrand::Rng>,
}

/// The guest with this number.
#[must_use]
pub fn id(number: usize) -> GuestId {
    GuestId::new(&format!("{number:03}"))
}

impl SimVcpu {
    /// One that wants so much and may run everywhere on so many CPUs.
    #[must_use]
    pub fn new(wants: f64, cpus: u32) -> Self {
        let all: Cpus = (0..cpus).collect();
        Self {
            wants,
            mask: all.clone(),
            allowed: all,
            owners: false,
            run: Duration::ZERO,
            wait: Duration::ZERO,
        }
    }
}

impl SimGuest {
    /// The guest with this number and these vCPUs, whose memory is not to be changed.
    #[must_use]
    pub fn new(number: usize, vcpus: Vec<SimVcpu>) -> Self {
        let balloon = Balloon {
            fixed: Some(Fixed::NoBalloon),
            ..Balloon::plain(512.0)
        };
        Self {
            id: id(number),
            began: Moment::ZERO,
            job: false,
            hangs_until: 0,
            home: None,
            vcpus,
            balloon,
        }
    }
}

impl Host {
    /// A host with so many plain CPUs and these guests.
    #[must_use]
    pub fn new(cpus: u32, guests: Vec<SimGuest>) -> Self {
        let cpu = |id| SimCpu {
            cpu: Cpu::plain(id),
            task: 0.0,
            niced: 0.0,
            stolen: 0.0,
            busy: Duration::ZERO,
            busy_niced: Duration::ZERO,
        };
        Self {
            step: 0,
            interval: Duration::from_secs(5),
            cpus: (0..cpus).map(cpu).collect(),
            guests,
            memory: 65_536.0,
            pins: Vec::new(),
            targets: Vec::new(),
            lost: Vec::new(),
            least_available: f64::INFINITY,
            waiting: Vec::new(),
            noise: None,
        }
    }

    /// Has everything want a little more or less, by chance.
    #[must_use]
    pub fn with_noise(mut self, seed: u64) -> Self {
        self.noise = Some(fastrand::Rng::with_seed(seed));
        self
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.step * self.interval
    }

    /// What the host could give.
    #[must_use]
    pub fn available(&self) -> Mib {
        let given = self.guests.iter().map(|guest| guest.balloon.rss);
        self.memory - given.sum::<f64>()
    }

    /// The guest with this number.
    pub fn guest(&mut self, number: usize) -> Option<&mut SimGuest> {
        let wanted = id(number);
        self.guests.iter_mut().find(|guest| guest.id == wanted)
    }

    /// One step of time.
    pub fn advance(&mut self) {
        self.step += 1;
        let waiting = std::mem::take(&mut self.waiting);
        for action in waiting {
            self.apply(&action);
        }
        self.run_vcpus();
        let (step, now, took) = (self.step, self.now(), self.interval);
        for guest in &mut self.guests {
            let noise = self.noise.as_mut().map_or(0.0, |chance| 8.0 * chance.f64());
            guest.balloon.step(step, now, took, noise);
        }
        let lost = self.guests.iter().filter(|guest| guest.balloon.is_lost);
        self.lost.extend(lost.map(|guest| guest.id.clone()));
        self.guests.retain(|guest| !guest.balloon.is_lost);
        self.least_available = self.least_available.min(self.available());
    }

    /// What each CPU carries: who is pinned, and who is not where there is most room, the greediest first.
    fn placed(&self) -> BTreeMap<u32, Vec<(usize, usize)>> {
        let mut on: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
        let mut load: BTreeMap<u32, f64> = BTreeMap::new();
        for cpu in self.cpus.iter().filter(|cpu| cpu.cpu.online) {
            load.insert(cpu.cpu.id, cpu.task);
        }
        let mut all: Vec<(usize, usize)> = Vec::new();
        for (at, guest) in self.guests.iter().enumerate() {
            all.extend((0..guest.vcpus.len()).map(|vcpu| (at, vcpu)));
        }
        let vcpu = |(guest, vcpu): (usize, usize)| &self.guests[guest].vcpus[vcpu];
        all.sort_by(|one, other| {
            let (one, other) = (vcpu(*one), vcpu(*other));
            let by_mask = (one.mask.len() > 1).cmp(&(other.mask.len() > 1));
            by_mask.then(other.wants.total_cmp(&one.wants))
        });
        for which in all {
            let cpus = vcpu(which).mask.iter().filter(|cpu| load.contains_key(cpu));
            let least = cpus.min_by(|one, other| load[one].total_cmp(&load[other]));
            if let Some(cpu) = least.copied() {
                on.entry(cpu).or_default().push(which);
                *load.entry(cpu).or_default() += vcpu(which).wants;
            }
        }
        on
    }

    fn run_vcpus(&mut self) {
        let placed = self.placed();
        let interval = self.interval;
        for at in 0..self.cpus.len() {
            let SimCpu {
                cpu,
                task,
                niced,
                stolen,
                ..
            } = &self.cpus[at];
            let speed = f64::from(cpu.capacity) / f64::from(FULL_CAPACITY);
            let on = placed.get(&cpu.id).cloned().unwrap_or_default();
            let mut wants: Vec<f64> = vec![*task];
            for (guest, vcpu) in &on {
                let noise = self
                    .noise
                    .as_mut()
                    .map_or(0.0, |chance| 4.0 * (chance.f64() - 0.5));
                let wanted = self.guests[*guest].vcpus[*vcpu].wants;
                wants.push((wanted + noise).clamp(0.0, 100.0));
            }
            let room = (100.0 - stolen).max(0.0) * speed;
            let runs = fair_shares(&wants, room);
            let ran: f64 = runs.iter().sum();
            let niced = niced.min(room - ran);
            let time = |share: f64| interval.mul_f64((share / speed / 100.0).max(0.0));
            for ((guest, vcpu), (run, wants)) in on.iter().zip(runs.iter().zip(&wants).skip(1)) {
                let vcpu = &mut self.guests[*guest].vcpus[*vcpu];
                vcpu.run += time(*run);
                vcpu.wait += time((wants - run).min(100.0 * speed - run));
            }
            self.cpus[at].busy += time(ran + niced);
            self.cpus[at].busy_niced += time(niced);
        }
    }

    /// The standard deviation of what the CPUs carry by the truth, in percent of what each can do.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        let placed = self.placed();
        let of = |cpu: &SimCpu| {
            let on = placed.get(&cpu.cpu.id).into_iter().flatten();
            let wanted = on.map(|(guest, vcpu)| self.guests[*guest].vcpus[*vcpu].wants);
            let speed = f64::from(cpu.cpu.capacity) / f64::from(FULL_CAPACITY);
            (cpu.task + wanted.sum::<f64>()) / speed
        };
        let uses: Vec<f64> = self
            .cpus
            .iter()
            .filter(|cpu| cpu.cpu.is_usable())
            .map(of)
            .collect();
        let mean = uses.iter().sum::<f64>() / uses.len() as f64;
        let squares = uses.iter().map(|of| (of - mean).powi(2));
        (squares.sum::<f64>() / uses.len() as f64).sqrt()
    }

    /// What is seen of it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let guests = self.guests.iter().map(|guest| Guest {
            id: guest.id.clone(),
            name: guest.id.to_string().into(),
            uptime: self.now().saturating_sub(guest.began),
            job: guest.job,
            niced: false,
            paused: false,
            home: guest.home,
            vcpus: guest
                .vcpus
                .iter()
                .zip(0..)
                .map(|(vcpu, index)| Vcpu {
                    index,
                    run: Some(vcpu.run),
                    wait: Some(vcpu.wait),
                    mask: vcpu.mask.clone(),
                    allowed: vcpu.allowed.clone(),
                    owners: vcpu.owners,
                })
                .collect(),
            memory: guest.balloon.memory(self.interval),
        });
        Snapshot {
            cpus: self.cpus.iter().map(|cpu| cpu.cpu.clone()).collect(),
            busy: self.cpus.iter().map(|cpu| Some(cpu.busy)).collect(),
            niced: self.cpus.iter().map(|cpu| Some(cpu.busy_niced)).collect(),
            guests: guests.collect(),
            available: Some(self.available()),
        }
    }

    /// Does what is to be done, or later where a guest hangs.
    pub fn apply(&mut self, action: &Action) {
        let step = self.step;
        let of = match action {
            Action::Pin(id, _) => &id.guest,
            Action::Target(guest, _) | Action::Period(guest, _) => guest,
            Action::Remember(_) | Action::Say(_) => return,
        };
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.id == *of) else {
            return;
        };
        if guest.hangs_until > step {
            self.waiting.push(action.clone());
            return;
        }
        match action {
            Action::Pin(id, cpus) => {
                if let Some(vcpu) = guest.vcpus.get_mut(id.index as usize) {
                    vcpu.mask.clone_from(cpus);
                    self.pins.push((step, id.clone(), cpus.clone()));
                }
            }
            Action::Target(id, target) => {
                guest.balloon.target = target.clamp(0.0, guest.balloon.max);
                self.targets.push((step, id.clone(), *target));
            }
            Action::Period(..) | Action::Remember(_) | Action::Say(_) => {}
        }
    }

    /// Takes a CPU away, or brings it back. The kernel lets who has lost all CPUs run wherever cgroups do.
    pub fn set_online(&mut self, cpu: u32, online: bool) {
        self.cpus[cpu as usize].cpu.online = online;
        let there: Cpus = self
            .cpus
            .iter()
            .filter(|cpu| cpu.cpu.online)
            .map(|cpu| cpu.cpu.id)
            .collect();
        for vcpu in self.guests.iter_mut().flat_map(|guest| &mut guest.vcpus) {
            if vcpu.mask.is_disjoint(&there) {
                vcpu.mask = &vcpu.allowed & &there;
            }
        }
    }
}

impl host::Host for Host {
    fn now(&self) -> Moment {
        self.now()
    }

    fn events(&mut self) -> Result<Vec<Event>, HostError> {
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<Snapshot, HostError> {
        Ok(Self::snapshot(self))
    }

    fn process(&self, _: &GuestId) -> Option<Process> {
        None
    }

    fn apply(&mut self, action: &Action) -> Result<(), HostError> {
        Self::apply(self, action);
        Ok(())
    }
}

/// What each gets of so much, if nobody gets more than they want, nor less than others who want as much.
fn fair_shares(wants: &[f64], mut left: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by(|one, other| wants[*one].total_cmp(&wants[*other]));
    let mut shares = vec![0.0; wants.len()];
    for (served, at) in order.iter().enumerate() {
        let share = left / (wants.len() - served) as f64;
        shares[*at] = wants[*at].min(share);
        left -= shares[*at];
    }
    shares
}
