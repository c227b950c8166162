//! Takes what a host shows to the decisions and what they say back to the host. Owns the order in which that is done, and that
//! nothing is changed of which it could not be kept how it was.

use std::sync::Arc;

use crate::action::{Action, Originals};
use crate::config::Config;
use crate::core::{Event, State, decide};
use crate::host::{Host, HostError};
use crate::remembered::{Kept, Remembered, RememberedError};
use crate::snapshot::Snapshot;

/// Something that was to be done, and what came of it.
#[derive(Debug)]
pub struct Done {
    /// What.
    pub action: Action,
    /// What came of it.
    pub result: Result<(), HostError>,
}

/// The decisions about one host.
pub struct Controller<H> {
    /// The host.
    pub host: H,
    config: Config,
    state: State,
    remembered: Option<Remembered>,
    /// What an earlier life kept, until the first look.
    earlier: Option<Kept>,
    snapshot: Arc<Snapshot>,
    /// Why what is remembered could not be kept, when it last was to be.
    not_kept: Option<RememberedError>,
}

impl<H: Host> Controller<H> {
    /// Decides about a host. With `remembered`, what an earlier life could not put back is put back with the first look.
    ///
    /// # Errors
    /// When what is remembered cannot be read.
    pub fn new(
        host: H,
        config: Config,
        remembered: Option<Remembered>,
    ) -> Result<Self, RememberedError> {
        let earlier = remembered.as_ref().map(Remembered::read).transpose()?;
        Ok(Self {
            host,
            config,
            state: State::default(),
            remembered,
            earlier,
            snapshot: Arc::default(),
            not_kept: None,
        })
    }

    /// What is remembered between events.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was last seen.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is configured.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// From now on, something else is configured.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// Why what was found could not be kept, when it last was to be.
    #[must_use]
    pub fn not_kept(&self) -> Option<&RememberedError> {
        self.not_kept.as_ref()
    }

    /// The end of a window, or the first look: sees what there is, and does what is to be done.
    ///
    /// # Errors
    /// When nothing can be seen. Nothing is changed then.
    pub fn look(&mut self) -> Result<Vec<Done>, HostError> {
        let mut done = Vec::new();
        for event in self.host.events()? {
            done.extend(self.event(event));
        }
        self.snapshot = Arc::new(self.host.snapshot()?);
        let seen = Event::Snapshot(self.snapshot.clone());
        let Some(earlier) = self.earlier.take() else {
            done.extend(self.event(seen));
            return Ok(done);
        };
        let earlier = earlier.of_those_who_run(&self.snapshot, self.host.now());
        done.extend(self.event(Event::Remembered(earlier.clone())));
        done.extend(self.event(seen));
        // What was put back is not to be put back again.
        let left = left(self.state.originals(), &earlier, &done);
        self.keep(&left);
        Ok(done)
    }

    /// Something else happens.
    pub fn event(&mut self, event: Event) -> Vec<Done> {
        let (state, actions) = decide(&self.config, &self.state, event, self.host.now());
        let before = std::mem::replace(&mut self.state, state);
        let mut is_kept = true;
        let mut done = Vec::new();
        for action in actions {
            let result = match &action {
                Action::Remember(originals) => {
                    let left = left(originals, before.originals(), &done);
                    is_kept = self.keep(&left);
                    is_kept.then_some(()).ok_or(HostError::NotKept)
                }
                Action::Pin(..) | Action::Period(..) if !is_kept => Err(HostError::NotKept),
                _ => self.host.apply(&action),
            };
            done.push(Done { action, result });
        }
        done
    }
    fn keep(&mut self, originals: &Originals) -> bool {
        let Some(remembered) = &self.remembered else {
            return true;
        };
        let kept = Kept::new(originals.clone(), &self.snapshot, self.host.now());
        self.not_kept = remembered.keep(&kept).err();
        self.not_kept.is_none()
    }
}

/// What is to be kept: what is, and what it was before where it could not be put back.
fn left(originals: &Originals, before: &Originals, done: &[Done]) -> Originals {
    let mut left = originals.clone();
    for Done { action, result } in done {
        match (action, result) {
            (_, Ok(()) | Err(HostError::Gone(_))) => {}
            (Action::Pin(vcpu, mask), _) if before.masks.get(vcpu) == Some(mask) => {
                left.masks.insert(vcpu.clone(), mask.clone());
            }
            (Action::Period(guest, period), _) if before.periods.get(guest) == Some(period) => {
                left.periods.insert(guest.clone(), *period);
            }
            _ => {}
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::{CpuConfig, Mode};
    use crate::simulation::{Host as Simulated, vcpus};
    use crate::topology::Cpus;

    fn acting() -> Config {
        let cpu = CpuConfig {
            mode: Mode::Act,
            ..CpuConfig::default()
        };
        Config {
            cpu,
            ..Config::default()
        }
    }

    fn controller(host: Simulated, directory: &Path) -> Controller<Simulated> {
        let remembered = Remembered::new(&directory.join("originals.json")).unwrap();
        Controller::new(host, acting(), Some(remembered)).unwrap()
    }

    fn step(controller: &mut Controller<Simulated>) {
        controller.host.advance();
        let done = controller.look().unwrap();
        assert!(done.iter().all(|done| done.result.is_ok()), "{done:?}");
    }

    #[test]
    fn who_comes_after_one_that_was_killed_puts_back_what_it_left_once() {
        let directory = tempfile::tempdir().unwrap();
        let crowded = vcpus(4, &[50.0; 8], |_| Some(0));
        let mut first = controller(crowded, directory.path());
        first.look().unwrap();
        for _ in 0..4 {
            step(&mut first);
        }
        assert_eq!(first.host.pins.len(), 6);
        // It is killed: nothing but the host is left of it.
        let mut next = controller(first.host, directory.path());
        next.configure(Config::default());
        next.look().unwrap();
        let at = Cpus::from([0]);
        let all_at = |host: &Simulated| {
            let mut vcpus = host.guests.iter().flat_map(|guest| &guest.vcpus);
            vcpus.all(|vcpu| vcpu.mask == at)
        };
        assert!(all_at(&next.host));
        assert_eq!(next.host.pins.len(), 12);
        let mut last = controller(next.host, directory.path());
        last.look().unwrap();
        assert_eq!(last.host.pins.len(), 12);
    }

    #[test]
    fn nothing_is_pinned_of_which_it_cannot_be_kept_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let crowded = vcpus(4, &[50.0; 8], |_| Some(0));
        let mut controller = controller(crowded, directory.path());
        controller.look().unwrap();
        // A file cannot replace a directory that is not empty.
        fs::create_dir_all(directory.path().join("originals.json/full")).unwrap();
        let mut refused = 0;
        for _ in 0..4 {
            controller.host.advance();
            let done = controller.look().unwrap();
            refused += done.iter().filter(|done| done.result.is_err()).count();
        }
        assert_eq!(controller.host.pins.len(), 0);
        assert!(refused >= 7 && controller.not_kept().is_some());
        fs::remove_dir_all(directory.path().join("originals.json")).unwrap();
    }
}
