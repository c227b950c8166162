//! `auto-ext learn`: a person consents to trials, takes that back, or asks how it stands.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use auto_ext_service::clock::utc;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;

use super::client::Client;
use super::style;
use crate::api::trials::Learned;

/// How long a consent lasts, if nothing else is said: as long as one may.
pub(crate) const LASTS: Duration = Duration::from_hours(24 * 30);

/// What a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Say {
    /// Consent
    On,
    /// Consent no more, and end the trial that is on
    Off,
    /// How it stands
    Status,
}

/// Says so to the daemon, and prints how it stands then. `lifted`: for how long the shares of the budget do not count.
pub(crate) async fn run(
    say: Say,
    lasts: Duration,
    lifted: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    let client = Client::connect().await?;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    match say {
        Say::On => {
            let lifted = lifted.unwrap_or_default();
            let asked = (seconds(lasts.max(lifted)), seconds(lifted));
            let () = client.call("Learn", &asked).await?;
        }
        Say::Off => {
            let () = client.call("Learn", &(0_u32, 0_u32)).await?;
        }
        Say::Status => {}
    }
    let learned: String = client.call("Trials", &()).await?;
    let learned: Learned = serde_json::from_str(&learned)?;
    if say == Say::Off && learned.learning == "on" {
        let why = "the trial that was on has ended, but the policy has others follow: `trials: {mode: on}`";
        return Err(WithCode::error(Code::Failed, why));
    }
    writeln!(style::stdout(), "{}", sanitize(&text(&learned)))?;
    Ok(ExitCode::SUCCESS)
}

/// How it stands, in a sentence.
fn text(learned: &Learned) -> String {
    let mut text = match (learned.learning.as_str(), learned.consent_until) {
        ("off", _) => "off: the policy has nothing tried (`trials: {mode: off}`)".to_owned(),
        ("watch", _) => "watch: it is measured how noisy loads are, nothing is switched".to_owned(),
        ("ask", _) => "ask: nobody consents (`auto-ext learn on`)".to_owned(),
        (_, Some(until)) => format!("on until {}", utc(until)),
        (other, None) => format!("{other}: the policy has schedulers tried"),
    };
    if let Some(until) = learned.lifted_until {
        text.push_str(&format!(
            ", without the shares of the budget until {}",
            utc(until)
        ));
    }
    let is_on = learned.learning == "on" || learned.learning == "watch";
    if is_on && learned.trial.is_some() {
        text.push_str("; a trial is on");
    } else if is_on && !learned.no_trial.is_empty() {
        text.push_str(&format!("; not now: {}", learned.no_trial.join("; ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(learning: &str, consent_until: Option<u64>) -> Learned {
        Learned {
            learning: learning.to_owned(),
            consent_until,
            lifted_until: None,
            trial: None,
            no_trial: Vec::new(),
            classes: Vec::new(),
        }
    }

    #[test]
    fn how_it_stands_is_a_sentence() {
        let until = 1_800_000_000_000_000;
        assert!(text(&learned("ask", None)).contains("auto-ext learn on"));
        assert_eq!(
            text(&learned("on", Some(until))),
            "on until 2027-01-15T08:00:00Z"
        );
        let mut not_now = learned("on", None);
        not_now.no_trial = vec!["a scheduler is pinned".into()];
        let expected = "on: the policy has schedulers tried; not now: a scheduler is pinned";
        assert_eq!(text(&not_now), expected);
    }
}
