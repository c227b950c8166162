//! What is in the way of a trial and can be found out by looking at the machine: sound, CPUs that come and go, packages that are
//! installed, CPU limits of cgroups; while it is looked closely, that the process that made most of the load has ended. There is nothing to wait for, so it is looked for: now and then, each second while somebody
//! asks to look closely. What cannot be found out is in the way.

mod cgroups;
mod cpus;
mod main_process;
mod packages;
mod sound;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use auto_ext_trials::Unquiet;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use cgroups::CgroupLimits;
use cpus::Hotplug;
use main_process::MainProcess;

/// How often it is looked for, and how often closely.
const EVERY: Duration = Duration::from_secs(10);
const CLOSELY: Duration = Duration::from_secs(1);

/// The cgroups that use CPU time, or ever did, and have limits or weights for it; `None` where that cannot be known.
pub(crate) fn limited_cgroups(root: &Path) -> Option<Vec<String>> {
    CgroupLimits::default().look(&root.join("sys/fs/cgroup"), Instant::now())
}

/// Follows what is in the way, until it is dropped.
pub(crate) struct Surroundings {
    changes: mpsc::Receiver<Vec<Unquiet>>,
    closely: watch::Sender<bool>,
}

/// What was seen, for the next look.
struct Look {
    root: PathBuf,
    hotplug: Hotplug,
    cgroups: CgroupLimits,
    limits: Vec<Unquiet>,
    limits_at: Option<Instant>,
    main_process: MainProcess,
}

impl Surroundings {
    /// Begins to look. To be called in a tokio runtime.
    pub(crate) fn follow() -> Self {
        let (sender, changes) = mpsc::channel(1);
        let (closely, wanted) = watch::channel(false);
        tokio::spawn(look(sender, wanted));
        Self { changes, closely }
    }

    /// Has it look each second, or not any more; at once if it does.
    pub(crate) fn look_closely(&self, closely: bool) {
        self.closely.send_if_modified(|before| {
            let changed = *before != closely;
            *before = closely;
            changed
        });
    }

    /// Waits until something else is in the way than before. The first time, until it is known what is. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) -> Vec<Unquiet> {
        match self.changes.recv().await {
            Some(unquiet) => unquiet,
            // It ends only after this.
            None => std::future::pending().await,
        }
    }
}

/// Looks until nobody receives what is seen.
async fn look(changes: mpsc::Sender<Vec<Unquiet>>, mut closely: watch::Receiver<bool>) {
    let mut look = Look::below("/".as_ref());
    let mut last = None;
    loop {
        // A walk over all cgroups may take a while.
        let is_close = *closely.borrow_and_update();
        let looked = tokio::task::spawn_blocking(move || {
            let unquiet = look.now(Instant::now(), SystemTime::now(), is_close);
            (look, unquiet)
        });
        let (after, unquiet) = looked
            .await
            .expect("who looks neither panics nor is aborted");
        look = after;
        if last.as_ref() != Some(&unquiet) {
            last = Some(unquiet.clone());
            if changes.send(unquiet).await.is_err() {
                return;
            }
        }
        let period = if is_close { CLOSELY } else { EVERY };
        tokio::select! {
            () = sleep(period) => {}
            changed = closely.changed() => if changed.is_err() {
                return;
            },
            () = changes.closed() => return,
        }
    }
}

impl Look {
    /// `root` is / but in tests.
    fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            hotplug: Hotplug::default(),
            cgroups: CgroupLimits::default(),
            limits: Vec::new(),
            limits_at: None,
            main_process: MainProcess::default(),
        }
    }

    /// What is in the way now, which is also `today`.
    fn now(&mut self, now: Instant, today: SystemTime, is_close: bool) -> Vec<Unquiet> {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= EVERY;
        if self.limits_at.is_none_or(is_due) {
            self.limits_at = Some(now);
            let limits = self.cgroups.look(&self.root.join("sys/fs/cgroup"), now);
            self.limits = match limits {
                Some(limited) => limited.into_iter().map(Unquiet::CgroupLimits).collect(),
                None => vec![Unquiet::NotKnown],
            };
        }
        let seen = [
            (sound::is_on(&self.root.join("proc/asound")), Unquiet::Sound),
            (packages::are_installed(&self.root, today), Unquiet::Upgrade),
            (
                self.hotplug
                    .look(&self.root.join("sys/devices/system/cpu/online"), now),
                Unquiet::Hotplug,
            ),
        ];
        let mut unquiet: Vec<Unquiet> = seen
            .into_iter()
            .filter_map(|(seen, unquiet)| match seen {
                Some(true) => Some(unquiet),
                Some(false) => None,
                None => Some(Unquiet::NotKnown),
            })
            .collect();
        unquiet.extend(self.limits.iter().cloned());
        if !is_close {
            self.main_process = MainProcess::default();
        } else if self.main_process.has_ended(&self.root.join("proc"), now) {
            unquiet.push(Unquiet::LoadEnded);
        }
        unquiet.dedup();
        unquiet
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_cannot_be_found_out_is_in_the_way() {
        let root = tempfile::tempdir().unwrap();
        let mut look = Look::below(root.path());
        let (now, today) = (Instant::now(), SystemTime::now());
        // There is no cgroup, and no CPU.
        assert_eq!(look.now(now, today, true), [Unquiet::NotKnown]);
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        write("sys/devices/system/cpu/online", "0-3\n");
        assert_eq!(look.now(now + EVERY, today, true), []);
        write("sys/devices/system/cpu/online", "0-2\n");
        write("proc/asound/pcm", "00-00: ALC257 : ALC257 : playback 1\n");
        assert_eq!(
            look.now(now + EVERY + CLOSELY, today, false),
            [Unquiet::NotKnown, Unquiet::Hotplug]
        );
    }

    #[tokio::test]
    async fn it_is_told_once_what_is_in_the_way_of_this_machine() {
        let mut surroundings = Surroundings::follow();
        surroundings.look_closely(true);
        let first = surroundings.changed().await;
        assert!(first.len() < 100, "{first:?}");
    }
}
