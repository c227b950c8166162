//! What the daemon holds, and what it does each second: looks, counts, and has the core decide.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::clock::now_us;

use crate::affinity::Masks;
use crate::config::Config;
use crate::core::{self, Event, Explanation, Mode, Moment, State, decide, explain};
use crate::groups::{Group, Key, Rules};
use crate::history::History;
use crate::store::Store;
use crate::surroundings::Surroundings;
use crate::topology::{Place, Topology};

use super::counting::{Counting, Source};
use super::known::Known;
use super::metrics::Totals;
use super::placing::{Placing, Unplaced};
use super::status::COUNTED;
use super::watch::Watch;

/// How often processes are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// How often it is checked whether the counters are to be believed.
const CHECK: Duration = Duration::from_secs(3600);
/// How often what was seen of jobs is kept.
const KEEP: Duration = Duration::from_secs(600);
/// How long a group is left alone that somebody else has placed.
const DROPPED: Duration = Duration::from_secs(3600);
/// How large a list of CPUs may be, in bytes.
const MAX_LIST: usize = 64 << 10;
const ONLINE: &str = "sys/devices/system/cpu/online";
/// What is said where no cores have hardware threads.
pub(super) const NO_SMT: &str = "no core has two hardware threads that may be given to groups";

/// Of what a daemon is made.
pub(super) struct Parts {
    /// Where /sys and /proc are.
    pub(super) root: PathBuf,
    /// Where what is known is kept.
    pub(super) state: PathBuf,
    /// Where it is written down what was placed.
    pub(super) run: PathBuf,
    /// Where services say whose processes are.
    pub(super) owners: PathBuf,
    pub(super) config: Config,
    pub(super) source: Box<dyn Source>,
    pub(super) masks: Box<dyn Masks>,
    /// How many ticks a second has.
    pub(super) ticks: u64,
    /// How long it is looked until something can be said.
    pub(super) enough: Duration,
}

/// The daemon between two events.
pub(super) struct Daemon {
    root: PathBuf,
    ticks: u64,
    pub(super) config: Config,
    pub(super) state: State,
    topology: Result<Topology, String>,
    /// The CPUs that are online, as they were when the cores were read.
    online: Option<String>,
    /// Why nothing can be placed here at all.
    unavailable: Option<String>,
    other_scheduler: bool,
    watch: Watch,
    pub(super) counting: Counting,
    pub(super) placing: Placing,
    pub(super) known: Known,
    pub(super) store: Store,
    pub(super) history: History,
    pub(super) totals: Totals,
    /// Until when groups are left alone that somebody else has placed.
    pub(super) dropped: BTreeMap<Key, Moment>,
    pub(super) groups: Vec<Group>,
    /// The domain that is decided about.
    place: Option<Place>,
    pub(super) pmu: &'static str,
    next_look: Moment,
    next_check: Moment,
    next_keep: Moment,
    pub(super) since: (Mode, u64),
}

impl Daemon {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            root,
            state,
            run,
            owners,
            config,
            source,
            masks,
            ticks,
            enough,
        } = parts;
        let store = Store::new(&state);
        Self {
            watch: Watch::new(&root, rules(&config, ticks), enough),
            counting: Counting::new(&root, source, config.metric),
            placing: Placing::new(&root, &run, &owners, masks),
            known: Known::new(store.clone()),
            history: History::new(&state),
            state: State::default(),
            topology: Err("the cores were not looked at yet".to_owned()),
            online: None,
            unavailable: None,
            other_scheduler: false,
            totals: Totals::default(),
            dropped: BTreeMap::new(),
            groups: Vec::new(),
            place: None,
            pmu: "unchecked",
            next_look: Moment::ZERO,
            next_check: Moment::ZERO,
            next_keep: Moment::ZERO,
            since: (Mode::Unavailable, now_us()),
            root,
            ticks,
            config,
            store,
        }
    }

    /// Undoes what another daemon has left, and remembers what was in vain.
    pub(super) fn begin(&mut self, now: Moment) {
        self.restore_and_decide(now);
        match self.store.fruitless() {
            Ok(sets) => self.event(Event::Remembered(sets), now),
            Err(error) => tracing::warn!("what was tried in vain is not known: {error}"),
        }
    }

    /// Does what is to be done by now; to be called each second.
    pub(super) fn step(&mut self, now: Moment) {
        self.look_around(now);
        if self.unavailable.is_none() {
            if now >= self.next_check && !self.state.is_trying() {
                self.check_counters(now);
            }
            if now >= self.next_look {
                self.next_look = now + LOOK;
                self.look(now);
            }
            if self.pmu == COUNTED
                && let Some(observed) = self.counting.step(&self.groups, now)
            {
                self.event(Event::Window(observed), now);
            }
            self.learn(now);
        }
        self.event(Event::Tick, now);
        let mode = self.explanation(now).mode;
        if mode != self.since.0 {
            self.since = (mode, now_us());
        }
    }

    /// Learns of the window that ended who was alone and who beside whom. While something is tried nobody is where it stays.
    fn learn(&mut self, now: Moment) {
        if let (Some(seen), Ok(topology)) = (self.counting.take_seen(), &self.topology)
            && !self.state.is_trying()
        {
            let at = now_us() / 1_000_000;
            self.known.learn(&seen, &self.groups, topology, at);
        }
        if now >= self.next_keep {
            self.next_keep = now + KEEP;
            self.known.keep();
        }
    }

    /// Has the core decide about an event, and about what comes of its actions.
    pub(super) fn event(&mut self, event: Event, now: Moment) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let (state, actions) = decide(&self.config.core(), &self.state, event, now);
            self.state = state;
            for action in actions {
                events.extend(self.act(action, now));
            }
        }
    }

    /// Follows another configuration.
    pub(super) fn follow(&mut self, config: Config, now: Moment) {
        // What is under way was begun by other rules.
        self.event(
            Event::Situation(Err("the configuration changed".to_owned())),
            now,
        );
        self.watch.follow(rules(&config, self.ticks));
        self.counting.stop();
        self.counting.metric = config.metric;
        self.groups.clear();
        self.config = config;
        self.next_look = now;
    }

    /// Lets all run everywhere again.
    pub(super) fn end(&mut self) {
        self.counting.stop();
        self.restore();
        self.known.keep();
    }

    /// Looks at the cores and at who else places tasks.
    fn look_around(&mut self, now: Moment) {
        let around = Surroundings::read(&self.root);
        let named = |name: &String| {
            self.config
                .with_sched_ext
                .iter()
                .any(|with| is_called(name, with))
        };
        let other = around.scheduler.as_ref().is_some_and(|name| !named(name));
        if other != self.other_scheduler {
            self.other_scheduler = other;
            self.event(Event::OtherScheduler(other), now);
        }
        let online = Root::new(&self.root).text(ONLINE, MAX_LIST);
        if online != self.online || self.topology.is_err() {
            if self.online.is_some() && online != self.online {
                tracing::info!("CPUs come or go: what was placed is undone");
            }
            self.event(Event::Situation(Err("CPUs come or go".to_owned())), now);
            self.counting.stop();
            self.topology = Topology::read(&self.root).map_err(|error| error.to_string());
            self.online = online;
            self.place = None;
            self.next_look = now;
        }
        let unavailable = match &self.topology {
            Err(why) => Some(why.clone()),
            Ok(topology) if topology.cores() == 0 => Some(NO_SMT.to_owned()),
            Ok(_) if around.container => {
                Some("this is a container, from which not all of the machine is seen".to_owned())
            }
            Ok(_) => None,
        };
        if unavailable != self.unavailable {
            if let Some(why) = &unavailable {
                self.event(Event::Situation(Err(why.clone())), now);
                self.groups.clear();
            }
            self.unavailable = unavailable;
        }
        let is_left = self.placing.is_left() || self.state.is_ledger_in_use();
        if is_left && now >= self.next_look {
            self.restore_and_decide(now);
        }
    }

    fn check_counters(&mut self, now: Moment) {
        self.next_check = now + CHECK;
        let cores = self.topology.iter().flat_map(|topology| &topology.domains);
        let cpus = cores
            .flat_map(|domain| &domain.cores)
            .flat_map(|core| &core.cpus);
        let Some(cpu) = cpus.copied().next() else {
            return;
        };
        let event = match self.counting.check(cpu) {
            Ok(()) => {
                self.pmu = COUNTED;
                Event::Counters(Ok(()))
            }
            Err((word, why)) => {
                self.pmu = word;
                self.counting.stop();
                Event::Counters(Err(why))
            }
        };
        self.event(event, now);
    }

    /// Looks at all groups: whether they are where they were placed, and what there is to place.
    fn look(&mut self, now: Moment) {
        let Ok(topology) = self.topology.clone() else {
            return;
        };
        if let Err(error) = self.known.refresh() {
            tracing::warn!("what is known of jobs cannot be read: {error}");
        }
        let Some(groups) = self.watch.look(&topology, &self.placing.given(), now) else {
            let why = "it is looked how busy groups are".to_owned();
            self.event(Event::Situation(Err(why)), now);
            return;
        };
        self.groups = groups;
        for unplaced in self.placing.check(&self.groups) {
            self.leave_alone(unplaced, now);
        }
        let root = self.root.clone();
        self.counting.follow(&self.groups, |pid| {
            crate::groups::Processes::one(&root, pid).map(|process| process.stat.parent)
        });
        self.dropped.retain(|_, until| now < *until);
        let at_rest = self.state.placed().is_none() && !self.state.is_trying();
        let place = self.place.filter(|_| !at_rest);
        let found = self.known.situation(
            &self.groups,
            |group| self.dropped.contains_key(&group.key),
            &topology,
            &self.config,
            place,
        );
        let situation = found.map(|found| {
            self.place = Some(found.place);
            found.situation
        });
        self.event(Event::Situation(situation), now);
    }

    /// A group that somebody else placed is left alone for a while.
    fn leave_alone(&mut self, unplaced: Unplaced, now: Moment) {
        let event = self.dropped_for(unplaced, now);
        self.event(event, now);
    }

    /// The same, as an event that is still to be decided about.
    pub(super) fn dropped_for(&mut self, unplaced: Unplaced, now: Moment) -> Event {
        let Unplaced { key, why } = unplaced;
        tracing::warn!("{key} is left alone for an hour: {why}");
        self.totals.foreign += 1;
        self.dropped.insert(key.clone(), now + DROPPED);
        Event::Foreign(key)
    }

    /// What is under way, and why.
    pub(super) fn explanation(&self, now: Moment) -> Explanation {
        match &self.unavailable {
            Some(why) => Explanation {
                mode: Mode::Unavailable,
                reason: why.clone(),
            },
            None => explain(&self.config.core(), &self.state, now),
        }
    }

    /// What would be tried now.
    pub(super) fn proposals(&self, now: Moment) -> Vec<core::Candidate> {
        core::proposals(&self.config.core(), &self.state, now)
    }
}

/// Whether the name that the kernel has for a scheduler, which may have a version behind it, is this one.
fn is_called(name: &str, with: &str) -> bool {
    let rest = name.strip_prefix(with);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

fn rules(config: &Config, ticks: u64) -> Rules {
    Rules {
        group_by: config.group_by,
        long_running: config.long_running.as_secs(),
        exclude: config.exclude.clone(),
        ticks,
    }
}
