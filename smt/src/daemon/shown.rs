//! What is shown of the daemon, made of what it holds.

use std::collections::BTreeMap;

use auto_ext_service::cpu_list::List;

use crate::core::{Explanation, Moment};
use crate::groups::Group;

use super::state::Daemon;
use super::status::{GroupStatus, Status};

/// A group that is less busy is not shown, unless it may be placed.
const SHOWN: f64 = 0.01;
/// How many slowdowns of a group are shown.
const MAX_SLOWDOWNS: usize = 16;

impl Daemon {
    /// What is shown of all of it.
    pub(super) fn status(&self, now: Moment) -> Status {
        let Explanation { mode, reason } = self.explanation(now);
        let shown = |group: &&Group| group.eligible.is_ok() || group.busy >= SHOWN;
        let groups = self.groups.iter().filter(shown);
        let mut groups: Vec<GroupStatus> = groups.map(|group| self.group_status(group)).collect();
        groups.sort_by(|one, other| other.busy.total_cmp(&one.busy));
        Status {
            mode,
            reason,
            pmu: self.pmu.to_owned(),
            gain: self.state.gain(),
            since_us: self.since.1,
            groups,
        }
    }

    fn group_status(&self, group: &Group) -> GroupStatus {
        let speed = self.counting.speeds().get(&group.key);
        let left_alone = match &group.eligible {
            Err(why) => Some(why.to_string()),
            Ok(()) if self.dropped.contains_key(&group.key) => {
                Some("somebody else placed it less than an hour ago".to_owned())
            }
            Ok(()) => None,
        };
        GroupStatus {
            job: group.job.clone(),
            group: group.key.to_string(),
            busy: (group.busy * 100.0).round() / 100.0,
            workers: group.workers,
            left_alone,
            speed: speed.and_then(|speed| speed.as_ref().ok().copied()),
            unavailable: speed.and_then(|speed| speed.as_ref().err().cloned()),
            solo: self.known.solo(&group.job),
            slowdown: self.slowdowns(group),
            cpus: self
                .placing
                .placed()
                .get(&group.key)
                .map(|cpus| List(cpus).to_string()),
        }
    }

    /// What a group was seen to lose beside those that run now.
    fn slowdowns(&self, group: &Group) -> BTreeMap<String, f64> {
        let others = self.groups.iter().filter(|other| other.eligible.is_ok());
        let slowdowns = others.filter_map(|other| {
            let slowdown = self.known.slowdown(&group.job, &other.job)?;
            Some((other.job.clone(), slowdown))
        });
        slowdowns.take(MAX_SLOWDOWNS).collect()
    }
}
