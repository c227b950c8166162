//! What callers ask of the daemon, carried out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::Daemon;
use crate::core::{Event, Mode, explain};
use crate::history::Kind;
use crate::known;
use crate::policy::{Candidate, Checked, Policy, Scheduler};
use crate::program::{self, ProgramError};
use crate::report::scheduler_name;
use crate::request::{Answer, Asked, Refusal, Request};

/// How many holds there may be.
pub(crate) const MAX_HOLDS: usize = 64;

/// Who has which hold.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    owners: BTreeMap<u32, String>,
    last: u32,
}

impl Holders {
    /// A number for a new hold of `owner`: never 0, never one in use.
    pub(crate) fn add(&mut self, owner: String) -> Option<u32> {
        if self.owners.len() >= MAX_HOLDS {
            return None;
        }
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if !self.owners.contains_key(&self.last) {
                self.owners.insert(self.last, owner);
                return Some(self.last);
            }
        }
    }

    /// Removes this hold, if it is one of `owner`.
    pub(crate) fn remove(&mut self, cookie: u32, owner: &str) -> bool {
        let theirs = self.owners.get(&cookie).is_some_and(|of| of == owner);
        if theirs {
            self.owners.remove(&cookie);
        }
        theirs
    }

    /// Removes all holds and returns their numbers.
    pub(super) fn clear(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.owners).into_keys().collect()
    }

    /// Removes all holds of `owner` and returns their numbers.
    pub(crate) fn remove_all(&mut self, owner: &str) -> Vec<u32> {
        let theirs = self.owners.iter().filter(|(_, of)| *of == owner);
        let cookies: Vec<u32> = theirs.map(|(cookie, _)| *cookie).collect();
        for cookie in &cookies {
            self.owners.remove(cookie);
        }
        cookies
    }
}

/// Finds the file of a program.
pub(crate) type Find = fn(&str) -> Result<PathBuf, ProgramError>;

/// What a pin of `name` with `args` is to run.
///
/// # Errors
/// When there is no such thing, or it takes no arguments.
pub(crate) fn to_pin(
    policy: &Policy,
    name: &str,
    args: Vec<String>,
    find: Find,
) -> Result<Candidate, Refusal> {
    let mut to = named(policy, name, find)?;
    match &mut to {
        _ if args.is_empty() => {}
        Candidate::Scheduler(scheduler) => scheduler.args = args,
        Candidate::Kernel => {
            let message = "the kernel's own scheduler takes no arguments";
            return Err(Refusal::Invalid(message.to_owned()));
        }
    }
    Ok(to)
}

/// What a caller calls `name`: something of the policy, that is known, or that is installed.
pub(crate) fn named(policy: &Policy, name: &str, find: Find) -> Result<Candidate, Refusal> {
    if let Some(candidate) = policy.candidate(name) {
        return Ok(candidate);
    }
    if let Some(command) = known::unknown_command(name) {
        match find(&command) {
            Ok(_) => {
                let name = command.trim_start_matches(known::PREFIX).to_owned();
                let args = Vec::new();
                return Ok(Candidate::Scheduler(Scheduler {
                    name,
                    command,
                    args,
                }));
            }
            Err(ProgramError::NotFound(_)) => {}
            Err(error) => return Err(Refusal::Invalid(error.to_string())),
        }
    }
    Err(Refusal::Invalid(format!(
        "`{name}` is no scheduler of the policy and none that is known; see `auto-ext schedulers`"
    )))
}

impl Daemon {
    /// Serves a caller.
    pub(super) async fn serve(&mut self, (request, answer): Asked) {
        let asked = format!("{request:?}");
        // Anybody may try to end a hold, as often as they like: that is no history.
        let counts = !matches!(request, Request::Release { .. });
        let served = match request {
            Request::Pin { name, args, lasts } => self.pin(&name, args, lasts).await,
            Request::Unpin => {
                self.happened(Event::Unpinned).await;
                Ok(Answer::Done)
            }
            Request::Hold {
                application,
                reason,
                owner,
            } => self.hold(application, reason, owner).await,
            Request::Release { cookie, owner } => self.release(cookie, &owner).await,
            Request::OwnerLeft { owner } => {
                for cookie in self.holders.remove_all(&owner) {
                    self.happened(Event::Released { cookie }).await;
                }
                Ok(Answer::Done)
            }
            Request::Reload => {
                self.happened(Event::Trusted).await;
                self.reload().await
            }
            Request::Forgive { name } => self.forgive(&name).await,
            Request::History { count } => Ok(self.tell_history(count)),
            Request::Metrics => Ok(Answer::Text(self.metrics())),
            Request::Why => json(&explain(&self.policy, &self.state, self.now())),
        };
        if let (Err(refusal), true) = (&served, counts) {
            tracing::info!("not done: {asked}: {refusal}");
            let current = self.sched_ext.read().scheduler();
            self.record(
                Kind::Refused,
                &current,
                &current,
                &asked,
                &refusal.to_string(),
            );
        }
        // Who asked may have left.
        let _ = answer.send(served);
    }

    async fn pin(
        &mut self,
        name: &str,
        args: Vec<String>,
        lasts: Option<Duration>,
    ) -> Result<Answer, Refusal> {
        let to = to_pin(&self.policy, name, args, program::find)?;
        if let Candidate::Scheduler(scheduler) = &to {
            program::find(&scheduler.command)
                .map_err(|error| Refusal::Invalid(error.to_string()))?;
        }
        if let Mode::Observe(cause) = self.state.mode()
            && !cause.leaves_room_for_a_pin()
        {
            return Err(Refusal::Unavailable(cause.to_string()));
        }
        let scheduler = scheduler_name(&to);
        tracing::info!(scheduler, "{scheduler} is pinned");
        self.happened(Event::Pinned { to, lasts }).await;
        Ok(Answer::Done)
    }

    async fn forgive(&mut self, name: &str) -> Result<Answer, Refusal> {
        // What is left alone may be in no policy any more.
        let shown = self
            .state
            .quarantined_program(&self.policy, name, self.now());
        let command = match shown {
            Some(command) => Some(command.to_owned()),
            None => match named(&self.policy, name, program::find)? {
                Candidate::Scheduler(Scheduler { command, .. }) => Some(command),
                Candidate::Kernel => None,
            },
        };
        match command {
            Some(command) => {
                tracing::info!("the failures of {command} are forgotten");
                self.happened(Event::Forgiven { command }).await;
                Ok(Answer::Done)
            }
            None => {
                let message = "the kernel's own scheduler is never left alone";
                Err(Refusal::Invalid(message.to_owned()))
            }
        }
    }

    async fn hold(
        &mut self,
        application: String,
        reason: String,
        owner: String,
    ) -> Result<Answer, Refusal> {
        let cookie = self
            .holders
            .add(owner)
            .ok_or_else(|| Refusal::TooMuch(format!("there are {MAX_HOLDS} holds already")))?;
        tracing::info!(
            application,
            reason,
            cookie,
            "held by {application}: {reason}"
        );
        self.happened(Event::Held {
            cookie,
            application,
            reason,
        })
        .await;
        Ok(Answer::Cookie(cookie))
    }

    async fn release(&mut self, cookie: u32, owner: &str) -> Result<Answer, Refusal> {
        if !self.holders.remove(cookie, owner) {
            let message = format!("the caller has no hold with the number {cookie}");
            return Err(Refusal::Invalid(message));
        }
        self.happened(Event::Released { cookie }).await;
        Ok(Answer::Done)
    }

    /// Reads the policy again; one that is invalid changes nothing.
    pub(super) async fn reload(&mut self) -> Result<Answer, Refusal> {
        match Checked::load(&self.config) {
            Ok(Checked { policy, .. })
                if policy == self.policy && !self.state.has_policy_problem() => {}
            Ok(Checked {
                policy, warnings, ..
            }) => {
                tracing::info!("{} is in force", self.config.display());
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.policy = policy;
                self.look_for_programs().await;
                self.follow_processes();
                self.serve_metrics();
                self.happened(Event::PolicyChanged).await;
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!("{error}; the last good policy stays in force");
                self.happened(Event::PolicyProblem {
                    error: error.clone(),
                })
                .await;
                return Err(Refusal::Invalid(error));
            }
        }
        Ok(Answer::Done)
    }

    fn tell_history(&self, count: u32) -> Answer {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // Turned into text where it takes no time from decisions.
        Answer::Entries(self.history.last(count).cloned().collect())
    }
}

fn json(value: &impl Serialize) -> Result<Answer, Refusal> {
    serde_json::to_string(value)
        .map(Answer::Text)
        .map_err(|error| Refusal::Unavailable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hold_has_a_number_of_its_own_and_ends_only_by_its_owner() {
        let mut holders = Holders {
            last: u32::MAX - 1,
            ..Holders::default()
        };
        let cookies: Vec<u32> = (0..4).filter_map(|_| holders.add(":1.7".into())).collect();
        assert_eq!(cookies, [u32::MAX, 1, 2, 3]);
        assert!(!holders.remove(2, ":1.8"));
        assert!(holders.remove(2, ":1.7"));
        assert!(!holders.remove(2, ":1.7"));
        assert_eq!(holders.remove_all(":1.7"), [1, 3, u32::MAX]);
        assert!(holders.clear().is_empty());
    }

    #[test]
    fn a_pin_may_name_what_is_installed_and_known_to_nobody() {
        fn find(command: &str) -> Result<PathBuf, ProgramError> {
            match command {
                "scx_cake" => Ok("/usr/bin/scx_cake".into()),
                "scx_open" => Err(ProgramError::Refused {
                    path: "/usr/bin/scx_open".into(),
                    why: "can be changed".into(),
                }),
                _ => Err(ProgramError::NotFound(command.into())),
            }
        }
        let pinned = |name, args| to_pin(&Policy::default(), name, args, find);
        for name in ["cake", "scx_cake"] {
            let cake = Scheduler {
                name: "cake".into(),
                command: "scx_cake".into(),
                args: vec!["-v".into()],
            };
            let found = pinned(name, vec!["-v".into()]);
            assert_eq!(found, Ok(Candidate::Scheduler(cake)));
        }
        let refused = |name| pinned(name, Vec::new()).unwrap_err().to_string();
        assert!(refused("scx_pie").contains("none that is known"));
        assert!(refused("sh").contains("none that is known"));
        assert_eq!(refused("open"), "/usr/bin/scx_open: can be changed");
    }

    #[test]
    fn holds_are_bounded() {
        let mut holders = Holders::default();
        let added = (0..1000).filter_map(|_| holders.add(":1.7".into())).count();
        assert_eq!(added, MAX_HOLDS);
    }
}
