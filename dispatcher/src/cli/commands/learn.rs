//! `auto-ext learn`: a person consents to trials, takes that back, or asks how it stands.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use auto_ext_service::clock::utc;
use auto_ext_service::duration;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;
use clap::error::ErrorKind;

use super::client::Client;
use super::style;
use crate::api::trials::Learned;

/// How long a consent lasts, if nothing else is said: as long as one may.
const LASTS: Duration = Duration::from_hours(24 * 30);

/// What a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Say {
    /// Consent
    On,
    /// Consent no more, and end the trial that is on
    Off,
    /// How it stands
    Status,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// [default: on with `--now` or `--for`, else status]
    #[arg(value_enum)]
    say: Option<Say>,
    /// For how long, such as 7d; 30 days at most [default: 30d]
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    lasts: Option<Duration>,
    /// For how long the budget, how much of an hour and of a day may be spent, is not spared, such as 30m. The guards hold all the same
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<Duration>,
}

/// Says so to the daemon, and prints how it stands then.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { say, lasts, now } = options;
    let with_time = lasts.is_some() || now.is_some();
    let say = say.unwrap_or(if with_time { Say::On } else { Say::Status });
    if say != Say::On && with_time {
        let why = "`--for` and `--now` go with `on`\n";
        clap::Error::raw(ErrorKind::ArgumentConflict, why).exit();
    }
    let client = Client::connect().await?;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    match say {
        Say::On => {
            let lifted = now.unwrap_or_default();
            let lasts = lasts.unwrap_or(LASTS).max(lifted);
            let asked = (seconds(lasts), seconds(lifted));
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

fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=LASTS).contains(&time) {
        Ok(time)
    } else {
        Err("must be from 1s to 30d".to_owned())
    }
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
    fn a_consent_has_an_end() {
        assert_eq!(time("30m"), Ok(Duration::from_mins(30)));
        assert_eq!(time("30d"), Ok(LASTS));
        assert!(time("31d").is_err() && time("0s").is_err() && time("ever").is_err());
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
