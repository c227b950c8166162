//! What people say of trials: that they consent, that one ends, that what was found is forgotten; and what they are told.

use std::time::Duration;

use auto_ext_core::Event;
use auto_ext_policy::TrialMode;
use auto_ext_service::clock::now_us;
use auto_ext_trials::{Consent, MAX_CONSENT};

use super::state::Daemon;
use crate::api::request::{Answer, Refusal};
use crate::api::trials::Learned;

impl Daemon {
    /// Somebody consents to trials for the time `lasts`, in the first of it, `lifted`, without the shares of the budget; for no
    /// time: not any more.
    pub(super) async fn learn(
        &mut self,
        lasts: Duration,
        lifted: Duration,
    ) -> Result<Answer, Refusal> {
        if self.trials.store.is_none() {
            let why = "this daemon runs beside another, and tries nothing";
            return Err(Refusal::Unavailable(why.to_owned()));
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

    /// All that is known of trials.
    pub(super) fn learned(&self) -> Learned {
        Learned::of(&self.policy, &self.state, self.now(), now_us())
    }
}
