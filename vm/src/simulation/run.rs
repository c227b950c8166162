//! One run: what is seen goes into the decisions, and what they say is done.

use std::sync::Arc;

use crate::action::Action;
use crate::config::Config;
use crate::core::{Event, State, decide};

use super::host::Host;
use super::memory_peers::Peer;

/// A host with the decisions about it.
pub struct Run {
    /// The host.
    pub host: Host,
    /// What is configured.
    pub config: Config,
    /// What is remembered.
    pub state: State,
    /// All that was to be done, and in which step.
    pub actions: Vec<(u32, Action)>,
}

impl Run {
    /// Looks at a host for the first time.
    #[must_use]
    pub fn new(host: Host, config: Config) -> Self {
        let mut run = Self {
            host,
            config,
            state: State::default(),
            actions: Vec::new(),
        };
        run.look();
        run
    }

    /// Something happens.
    pub fn event(&mut self, event: Event) {
        let (state, actions) = decide(&self.config, &self.state, event, self.host.now());
        self.state = state;
        for action in actions {
            self.host.apply(&action);
            self.actions.push((self.host.step, action));
        }
    }

    fn look(&mut self) {
        let snapshot = Arc::new(self.host.snapshot());
        self.event(Event::Snapshot(snapshot));
    }

    /// One step of time, at the end of which the host is looked at.
    pub fn step(&mut self) {
        self.host.advance();
        self.look();
    }

    /// So many steps, before each of which something may happen.
    pub fn steps(&mut self, steps: u32, happens: fn(&mut Self)) {
        for _ in 0..steps {
            happens(self);
            self.step();
        }
    }

    /// How many pins there were in these steps.
    #[must_use]
    pub fn pins(&self, steps: std::ops::RangeInclusive<u32>) -> usize {
        let pins = self.host.pins.iter();
        pins.filter(|(step, ..)| steps.contains(step)).count()
    }
}

/// So many steps under another's rules for memory.
pub fn run_peer(host: &mut Host, peer: &Peer, steps: u32) {
    for _ in 0..steps {
        host.advance();
        let snapshot = host.snapshot();
        for (guest, target) in (peer.rule)(&snapshot, host.memory) {
            host.apply(&Action::Target(guest, target));
        }
    }
}
