//! Does what callers ask of the daemon.

use std::path::PathBuf;
use std::time::Duration;

use auto_ext_core::{Event, Lease, Mode, ObserveCause, explain};
use auto_ext_policy::{Candidate, Checked, Policy, Scheduler, known};
use auto_ext_scx::process::executable;
use auto_ext_scx::process::executable::ProgramError;
use auto_ext_scx::sysfs;
use auto_ext_service::clock::now_us;
use serde::Serialize;

use super::holders::{MAX_HOLDS, MAX_OF_A_CALLER};
use super::state::Daemon;
use crate::api::request::{Answer, MayName, QueuedRequest, Refusal, Request};
use crate::api::status::scheduler_name;
use crate::persistence::history::Kind;
use crate::sources::read_policy;
use crate::trace::recent::About;

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

/// What a lease of `name` with `args` is to run.
///
/// # Errors
/// As [`to_pin`], and for what the caller may not name.
pub(crate) fn to_lease(
    policy: &Policy,
    name: &str,
    args: Vec<String>,
    may_name: MayName,
    find: Find,
) -> Result<Candidate, Refusal> {
    let to = to_pin(policy, name, args, find)?;
    if may_name == MayName::ThoseOfThePolicy && !policy.names(&to) {
        let message = format!("`{name}` is no scheduler of the policy");
        return Err(Refusal::NotPermitted(message));
    }
    Ok(to)
}

/// What a caller means by `name`: something of the policy, a known scheduler, or one that is installed.
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

/// What was asked for, for the history.
fn asked(request: &Request) -> String {
    match request {
        // It may be long.
        Request::Import { export } => format!("Import of {} records", export.records().len()),
        request => format!("{request:?}"),
    }
}

impl Daemon {
    /// Does what a caller asks for, and answers.
    pub(super) async fn serve(&mut self, (request, answer): QueuedRequest) {
        let asked = asked(&request);
        // What takes no password can be tried as often as one likes: that is not recorded.
        let recorded = !matches!(
            request,
            Request::Release { .. }
                | Request::Trace { .. }
                | Request::Lease {
                    may_name: MayName::ThoseOfThePolicy,
                    ..
                }
        );
        let served = match request {
            Request::Pin { name, args, lasts } => self.pin(&name, args, lasts).await,
            Request::Unpin => {
                self.apply_event(Event::Unpinned).await;
                self.forget_modes().await;
                Ok(Answer::Done)
            }
            Request::ScxLoader { ask, client } => self.ask_scx_loader(client, ask).await,
            Request::Hold {
                application,
                reason,
                owner,
            } => self.hold(application, reason, owner).await,
            Request::Lease {
                name,
                args,
                application,
                reason,
                owner,
                may_name,
                is_turn,
            } => match to_lease(&self.policy, &name, args, may_name, executable::find) {
                Ok(to) => {
                    // It gets its number when it is granted.
                    let lease = Lease::new(0, to, application, reason);
                    let lease = if is_turn { lease.for_a_turn() } else { lease };
                    self.lease(lease, owner).await
                }
                Err(refusal) => Err(refusal),
            },
            Request::Release { cookie, owner } => self.release(cookie, &owner).await,
            Request::OwnerLeft { owner } => {
                for cookie in self.holders.remove_all(&owner) {
                    self.apply_event(Event::Released { cookie }).await;
                }
                Ok(Answer::Done)
            }
            Request::Reload => {
                self.apply_event(Event::SafeModeEnded).await;
                self.reload().await
            }
            Request::ResetFailed { name } => self.reset_failed(&name).await,
            Request::History { count } => Ok(self.last_entries(count)),
            Request::Metrics => Ok(Answer::Text(self.metrics())),
            Request::Page => Ok(Answer::Text(self.page())),
            Request::Trace { last } => self.trace(last),
            Request::Learn { lasts, lifted } => self.learn(lasts, lifted).await,
            Request::EndTrial => self.end_trial().await,
            Request::Forget { class } => self.forget(class).await,
            Request::Keep { class, comparison } => self.keep_comparison(&class, *comparison).await,
            Request::Import { export } => self.import(*export).await,
            Request::Trials => json(&self.learned()),
            Request::Why => json(&explain(&self.policy, &self.state, self.now())),
        };
        if let (Err(refusal), true) = (&served, recorded) {
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

    /// What was measured last.
    fn trace(&self, last: Duration) -> Result<Answer, Refusal> {
        let about = About {
            kernel: sysfs::release(),
            window: self.policy.window,
            missing: self.profiler.missing().iter().cloned().collect(),
            now_us: now_us(),
        };
        let trace = self.recent.trace(last, about);
        let nothing = || Refusal::Unavailable("nothing has been measured yet".to_owned());
        trace.map(Answer::Trace).ok_or_else(nothing)
    }

    async fn pin(
        &mut self,
        name: &str,
        args: Vec<String>,
        lasts: Option<Duration>,
    ) -> Result<Answer, Refusal> {
        let to = to_pin(&self.policy, name, args, executable::find)?;
        is_installed(&to)?;
        if let Mode::Observe(cause) = self.state.mode()
            && !cause.leaves_room_for_a_pin()
        {
            return Err(Refusal::Unavailable(cause.to_string()));
        }
        let scheduler = scheduler_name(&to);
        tracing::info!(scheduler, "{scheduler} is pinned");
        self.apply_event(Event::Pinned {
            to,
            lasts,
            by: None,
        })
        .await;
        Ok(Answer::Done)
    }

    async fn reset_failed(&mut self, name: &str) -> Result<Answer, Refusal> {
        // What is quarantined may not be in the policy any more.
        let shown = self
            .state
            .quarantined_program(&self.policy, name, self.now());
        let command = match shown {
            Some(command) => Some(command.to_owned()),
            None => match named(&self.policy, name, executable::find)? {
                Candidate::Scheduler(Scheduler { command, .. }) => Some(command),
                Candidate::Kernel => None,
            },
        };
        match command {
            Some(command) => {
                tracing::info!("the failures of {command} are forgotten");
                self.apply_event(Event::FailuresReset { command }).await;
                Ok(Answer::Done)
            }
            None => {
                let message = "the kernel's own scheduler is never quarantined";
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
        let cookie = self.cookie(owner)?;
        tracing::info!(
            application,
            reason,
            cookie,
            "held by {application}: {reason}"
        );
        self.apply_event(Event::Held {
            cookie,
            application,
            reason,
        })
        .await;
        Ok(Answer::Cookie(cookie))
    }

    /// Grants a lease of what can run now. Later it may have to wait, or to give way to what overrules it.
    async fn lease(&mut self, mut lease: Lease, owner: String) -> Result<Answer, Refusal> {
        // Whoever starts a game through us has not made a mistake when a scheduler was uninstalled since.
        is_installed(&lease.to).map_err(|refusal| Refusal::Unavailable(refusal.to_string()))?;
        if let Mode::Observe(cause) = self.state.mode()
            && *cause != ObserveCause::NoScheduler
        {
            return Err(Refusal::Unavailable(cause.to_string()));
        }
        if let Some(why) = self.state.quarantine(&lease.to, self.now()) {
            return Err(Refusal::Unavailable(format!("{} {why}", lease.to)));
        }
        lease.cookie = self.cookie(owner)?;
        let scheduler = scheduler_name(&lease.to);
        let Lease {
            cookie,
            application,
            reason,
            ..
        } = &lease;
        tracing::info!(
            scheduler,
            application,
            reason,
            cookie,
            "{scheduler} is leased by {application}: {reason}"
        );
        let cookie = lease.cookie;
        self.apply_event(Event::Leased(lease)).await;
        Ok(Answer::Cookie(cookie))
    }

    /// The number of a new hold or lease of `owner`.
    fn cookie(&mut self, owner: String) -> Result<u32, Refusal> {
        let cookie = self.holders.add(owner);
        cookie.ok_or_else(|| {
            Refusal::TooMuch(format!(
                "there are {MAX_HOLDS} holds and leases, or {MAX_OF_A_CALLER} of this caller"
            ))
        })
    }

    async fn release(&mut self, cookie: u32, owner: &str) -> Result<Answer, Refusal> {
        if !self.holders.remove(cookie, owner) {
            let message = format!("the caller has no hold or lease with the number {cookie}");
            return Err(Refusal::Invalid(message));
        }
        self.apply_event(Event::Released { cookie }).await;
        Ok(Answer::Done)
    }

    /// Reads the policy again. An invalid one changes nothing.
    pub(super) async fn reload(&mut self) -> Result<Answer, Refusal> {
        let read = read_policy::read(&self.config);
        self.list_files = read.lists;
        match read.checked {
            Ok(Checked { policy, .. })
                if policy == self.policy && !self.state.has_policy_problem() =>
            {
                self.offer_scx_loader().await;
            }
            Ok(Checked {
                policy, warnings, ..
            }) => {
                tracing::info!("{} is in force", self.config.display());
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.policy = policy;
                self.find_programs().await;
                self.follow_processes();
                self.serve_metrics();
                self.apply_event(Event::PolicyChanged).await;
                self.find_here().await;
                self.follow_surroundings().await;
                self.offer_scx_loader().await;
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!("{error}; the last good policy stays in force");
                self.apply_event(Event::PolicyProblem {
                    error: error.clone(),
                })
                .await;
                return Err(Refusal::Invalid(error));
            }
        }
        Ok(Answer::Done)
    }

    fn last_entries(&self, count: u32) -> Answer {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // They are turned into JSON on the thread of callers.
        Answer::Entries(self.history.last(count).cloned().collect())
    }
}

/// Whether there is a program that can be run.
pub(super) fn is_installed(to: &Candidate) -> Result<(), Refusal> {
    if let Candidate::Scheduler(scheduler) = to {
        executable::find(&scheduler.command)
            .map_err(|error| Refusal::Invalid(error.to_string()))?;
    }
    Ok(())
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
}
