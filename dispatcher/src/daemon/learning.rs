//! What people say of trials: that they consent, that one ends, that what was found is forgotten; and what they are told.

use std::time::Duration;

use auto_ext_core::Event;
use auto_ext_evidence::Verdict;
use auto_ext_policy::TrialMode;
use auto_ext_service::clock::now_us;
use auto_ext_trials::{Comparison, Consent, Export, MAX_CONSENT, NotKept};

use super::state::Daemon;
use crate::api::request::{Answer, Refusal};
use crate::api::trials::Learned;

/// Why a daemon that runs beside another does none of this.
const BESIDE: &str = "this daemon runs beside another, and tries nothing";

fn invalid(why: &NotKept) -> Refusal {
    Refusal::Invalid(why.to_string())
}

/// What is kept of a comparison, for people.
pub(crate) fn kept(scheduler: &str, class: &str, verdict: Verdict) -> String {
    match verdict {
        Verdict::Better => format!("{scheduler} goes first for class {class}"),
        Verdict::Worse => format!("{scheduler} is worse for class {class}, and not tried any more"),
        Verdict::Open | Verdict::NoDifference => {
            format!("{scheduler} makes no difference for class {class}, and is not tried any more")
        }
    }
}

/// What became of an import, for people.
pub(crate) fn imported(taken: usize, all: usize) -> String {
    format!(
        "{taken} of {all} records are of machines like this one, with the same kernel and builds; until it is found out here \
         they say which challenger is tried first"
    )
}

impl Daemon {
    /// Somebody consents to trials for the time `lasts`, in the first of it, `lifted`, without the shares of the budget; for no
    /// time: not any more.
    pub(super) async fn learn(
        &mut self,
        lasts: Duration,
        lifted: Duration,
    ) -> Result<Answer, Refusal> {
        if self.trials.store.is_none() {
            return Err(Refusal::Unavailable(BESIDE.to_owned()));
        }
        let mode = self.policy.trials.mode;
        if lasts.is_zero() {
            tracing::info!("nobody consents to trials any more");
            self.set_consent(None).await;
            if mode == TrialMode::On {
                // Nobody was asked for consent; whoever takes it back wants this one to end.
                self.apply_event(Event::TrialEnded).await;
            }
            return Ok(Answer::Done);
        }
        let why_not = match mode {
            TrialMode::Off => "the policy has nothing tried, whoever consents",
            TrialMode::Watch => "the policy has nothing switched for trials, whoever consents",
            TrialMode::Ask | TrialMode::On => "",
        };
        if !why_not.is_empty() {
            let message = format!("{why_not}; `trials: {{mode: ask}}` in it leaves that to you");
            return Err(Refusal::Unavailable(message));
        }
        let now = self.now();
        let consent = Consent {
            until: now + lasts.min(MAX_CONSENT),
            lifted_until: now + lifted.min(lasts).min(MAX_CONSENT),
        };
        let lasts = humantime::format_duration(lasts.min(MAX_CONSENT));
        tracing::info!("somebody consents to trials for {lasts}");
        self.set_consent(Some(consent)).await;
        Ok(Answer::Done)
    }

    /// Ends the trial that is on.
    pub(super) async fn end_trial(&mut self) -> Result<Answer, Refusal> {
        if self.state.trials().trial().is_none() {
            return Err(Refusal::Unavailable("no trial is on".to_owned()));
        }
        self.apply_event(Event::TrialEnded).await;
        Ok(Answer::Done)
    }

    /// Forgets what was found for a class, or everything.
    pub(super) async fn forget(&mut self, class: Option<String>) -> Result<Answer, Refusal> {
        let rows = self.state.trials().table().rows();
        if let Some(class) = &class
            && !rows.iter().any(|row| row.key.class == *class)
        {
            let message = format!("nothing was found for a class `{class}`");
            return Err(Refusal::Invalid(message));
        }
        let what = class.as_deref().unwrap_or("all classes");
        tracing::info!("what trials found is forgotten: {what}");
        self.apply_event(Event::LearnedForgotten { class }).await;
        Ok(Answer::Done)
    }

    /// Keeps what a comparison found for a class.
    pub(super) async fn keep_comparison(
        &mut self,
        class: &str,
        comparison: Comparison,
    ) -> Result<Answer, Refusal> {
        if self.trials.store.is_none() {
            return Err(Refusal::Unavailable(BESIDE.to_owned()));
        }
        let (goal, scheduler) = comparison
            .about(&self.policy, class)
            .map_err(|why| invalid(&why))?;
        let scheduler = scheduler.clone();
        if comparison.ratios.is_empty() {
            return Ok(Answer::Text("it could be kept".to_owned()));
        }
        self.find_here().await;
        let (power, profile) = (self.state.power(), self.state.profile());
        let trials = self.state.trials();
        let key = trials.key(class, goal, &scheduler, power, profile);
        let Some(key) = key else {
            let message = format!("the program `{}` is not there any more", scheduler.command);
            return Err(Refusal::Unavailable(message));
        };
        let began = Duration::from_secs(comparison.took_s);
        let began = self.now().checked_sub(began);
        let is_alike = |(since, began)| since <= began;
        if trials
            .alike_since()
            .zip(began)
            .is_none_or(|both| !is_alike(both))
        {
            return Err(Refusal::Unavailable(
                "meanwhile the daemon was started, or CPUs, a scheduler's program, the source of power or its profile \
                 became another: what was compared need not be so any more"
                    .to_owned(),
            ));
        }
        let (verdict, _) = comparison
            .judge(Duration::ZERO)
            .map_err(|why| invalid(&why))?;
        let mut said = kept(&scheduler.name, class, verdict);
        tracing::info!("what a comparison found is kept: {said}");
        if matches!(self.policy.trials.mode, TrialMode::Off | TrialMode::Watch) {
            said.push_str("; nothing follows from it until the policy has `trials: {mode: ask}`");
        }
        let (key, comparison) = (Box::new(key), Box::new(comparison));
        self.apply_event(Event::Compared { key, comparison }).await;
        Ok(Answer::Text(said))
    }

    /// Takes in what trials found on other machines.
    pub(super) async fn import(&mut self, export: Export) -> Result<Answer, Refusal> {
        self.find_here().await;
        let Some(here) = self.trials.here.as_ref() else {
            return Err(Refusal::Unavailable(BESIDE.to_owned()));
        };
        let all = export.records().len();
        let taken = self
            .state
            .trials()
            .table()
            .clone()
            .import(export.clone(), here);
        let said = imported(taken, all);
        tracing::info!("{said}");
        self.apply_event(Event::Imported(Box::new(export))).await;
        Ok(Answer::Text(said))
    }

    /// All that is known of trials.
    pub(super) fn learned(&self) -> Learned {
        Learned::of(&self.policy, &self.state, self.now(), now_us())
    }
}
