//! Where groups are placed: has the ledger while they are, and undoes all of it. What another service decides about is not
//! touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use auto_ext_service::affinity_owner::{AffinityOwner, Claim, Process};
use auto_ext_service::cpu_list::Cpus;

use crate::affinity::{self, Ledger, LedgerError, Masks, Restored};
use crate::core::Candidate;
use crate::groups::{Given, Group, Key, MAX_THREADS};

/// How many threads that have joined groups are placed at a look, all five seconds: ten a second. Outside trials there are no others.
const MAX_JOINED: usize = 50;

/// What is placed.
pub(super) struct Placing {
    root: PathBuf,
    directory: PathBuf,
    masks: Box<dyn Masks>,
    /// There while something is to be undone.
    ledger: Option<Ledger>,
    /// Where each group is to run now.
    placed: BTreeMap<Key, Cpus>,
    /// How many threads were placed.
    threads: usize,
    owner: AffinityOwner,
}

/// Why something is not placed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPlaced {
    /// One group cannot be.
    #[error("{}: {}", .0.key, .0.why)]
    Group(Unplaced),
    /// Another auto-ext-smt places something, which is no fault of the group.
    #[error(transparent)]
    LedgerInUse(LedgerError),
}

/// A group that cannot be placed, or does not stay where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unplaced {
    pub(super) key: Key,
    pub(super) why: String,
}

impl Placing {
    pub(super) fn new(root: &Path, directory: &Path, owners: &Path, masks: Box<dyn Masks>) -> Self {
        Self {
            root: root.to_owned(),
            directory: directory.to_owned(),
            masks,
            ledger: None,
            placed: BTreeMap::new(),
            threads: 0,
            owner: AffinityOwner::new(owners, affinity::SERVICE),
        }
    }

    /// Where each group is to run.
    pub(super) fn placed(&self) -> &BTreeMap<Key, Cpus> {
        &self.placed
    }

    /// How many threads were placed.
    pub(super) fn threads(&self) -> usize {
        if self.placed.is_empty() {
            0
        } else {
            self.threads
        }
    }

    /// Whether something is still to be undone that should not be there.
    pub(super) fn is_left(&self) -> bool {
        self.ledger.is_some() && self.placed.is_empty()
    }

    /// Where groups were placed, and may still be.
    pub(super) fn given(&self) -> Given {
        let mut given = Given::new();
        let changes = self.ledger.iter().flat_map(Ledger::changes);
        for change in changes {
            let cpus = change.cpus.clone();
            given.entry(change.group.clone()).or_default().insert(cpus);
        }
        given
    }

    /// Places the groups.
    ///
    /// # Errors
    /// When one cannot be; then all is to be undone.
    pub(super) fn place(
        &mut self,
        candidate: &Candidate,
        groups: &[Group],
    ) -> Result<(), NotPlaced> {
        self.threads = 0;
        for (key, cpus) in &candidate.masks {
            let failed = |why: String| {
                NotPlaced::Group(Unplaced {
                    key: key.clone(),
                    why,
                })
            };
            let group = groups.iter().find(|group| group.key == *key);
            let group = group.ok_or_else(|| failed("it has ended".to_owned()))?;
            self.take_ledger().map_err(|error| match error {
                LedgerError::InUse(_) => NotPlaced::LedgerInUse(error),
                error => failed(error.to_string()),
            })?;
            self.threads += self.pin(group, cpus, MAX_THREADS).map_err(failed)?;
        }
        Ok(())
    }

    /// Has the ledger from now on.
    fn take_ledger(&mut self) -> Result<(), LedgerError> {
        if self.ledger.is_none() {
            self.ledger = Some(Ledger::open(&self.directory)?);
        }
        Ok(())
    }

    /// Has so many threads of a group at most run there; it is written down in the ledger.
    fn pin(&mut self, group: &Group, cpus: &Cpus, most: usize) -> Result<usize, String> {
        self.claim(&group.pids)?;
        let ledger = self.ledger.as_mut().ok_or("there is no ledger")?;
        self.placed.insert(group.key.clone(), cpus.clone());
        let (root, masks) = (&self.root, &mut *self.masks);
        let (key, pids) = (&group.key, &group.pids);
        let pinned = affinity::pin(root, ledger, masks, key, pids, cpus, most);
        pinned.map_err(|why| why.to_string())
    }

    /// Claims processes, so that no other service places them meanwhile.
    fn claim(&self, pids: &[u32]) -> Result<(), String> {
        // Whoever has ended has no time of its beginning.
        for process in pids
            .iter()
            .filter_map(|pid| Process::read(&self.root, *pid))
        {
            match self.owner.claim(process) {
                Ok(Claim::Ours) => {}
                Ok(Claim::Others(service)) => {
                    return Err(format!(
                        "{service} decides where process {} runs",
                        process.pid
                    ));
                }
                Err(error) => return Err(format!("it cannot be claimed: {error}")),
            }
        }
        Ok(())
    }

    /// Gives all processes up that were claimed, also by a daemon that was killed.
    fn give_up(&self) {
        if let Err(error) = self.owner.release_all() {
            tracing::warn!("processes stay claimed: {error}");
        }
    }

    /// Looks whether the groups are where they were placed, and places some of who has joined them; says which is not.
    pub(super) fn check(&mut self, groups: &[Group]) -> Vec<Unplaced> {
        let mut unplaced = Vec::new();
        let mut most = MAX_JOINED;
        for (key, cpus) in self.placed.clone() {
            let Some(group) = groups.iter().find(|group| group.key == key) else {
                continue;
            };
            match self.check_one(group, &cpus, most) {
                Ok(joined) => most -= joined,
                Err(why) => unplaced.push(Unplaced { key, why }),
            }
        }
        unplaced
    }

    fn check_one(&mut self, group: &Group, cpus: &Cpus, most: usize) -> Result<usize, String> {
        let Some(ledger) = &self.ledger else {
            return Ok(0);
        };
        let standing = affinity::check(&self.root, ledger, &group.key, &group.pids, cpus);
        let standing = standing.map_err(|why| why.to_string())?;
        if let Some(tid) = standing.foreign {
            return Err(format!("somebody else placed thread {tid}"));
        }
        if !standing.joined {
            return Ok(0);
        }
        let joined = self.pin(group, cpus, most)?;
        self.threads += joined;
        Ok(joined)
    }

    /// Undoes all of it, also what was left by another daemon. `None`: there was nothing.
    ///
    /// # Errors
    /// When that cannot be done; some may still be placed.
    pub(super) fn restore(&mut self) -> Result<Option<Restored>, LedgerError> {
        self.placed.clear();
        if self.ledger.is_none() {
            self.ledger = Ledger::existing(&self.directory)?;
        }
        let Some(ledger) = &self.ledger else {
            self.give_up();
            return Ok(None);
        };
        let restored = affinity::restore(&self.root, ledger, &mut *self.masks);
        if restored.failed.is_empty() {
            self.give_up();
        }
        if restored.failed.is_empty()
            && let Some(ledger) = self.ledger.take()
        {
            ledger.close()?;
        }
        Ok(Some(restored))
    }
}
