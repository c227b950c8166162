//! `auto-ext pin` and `auto-ext unpin`: a person chooses what runs, and leaves the choice to the policy again.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auto_ext_core::Explanation;
use auto_ext_policy::KERNEL;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;
use tokio::time::{Instant, sleep};

use super::client::{Client, Properties};
use crate::persistence::history::{Entry, Kind};

/// How long a pinned scheduler may take to run; scx_lavd needs half a minute on a slow machine.
const RUNS_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
/// More entries than the history gets between two questions.
const RECENT: u32 = 20;

/// How the reason begins that the history has for a switch to a pinned scheduler.
const PINNED: &str = "pinned";

/// Pins `name` and waits until the kernel runs it.
pub(crate) async fn pin(
    name: &str,
    lasts: Option<Duration>,
    args: &[String],
) -> anyhow::Result<ExitCode> {
    let seconds = lasts.map_or(0, |lasts| lasts.as_secs().max(1));
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    let client = Client::connect().await?;
    let asked_at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros());
    let () = client.call("Pin", &(name, args, seconds)).await?;
    let wanted = text(&client.properties().await?, "DesiredScheduler").to_owned();
    let owner = if wanted == KERNEL { "none" } else { "auto-ext" };
    let begun = Instant::now();
    let mut is_first = true;
    loop {
        // In this order: else an earlier pin that is in force again after a failure could be taken for this one.
        let properties = client.properties().await?;
        let text = |name: &str| text(&properties, name);
        let why: String = client.call("Why", &()).await?;
        let why: Explanation = serde_json::from_str(&why)?;
        let entries: String = client.call("History", &RECENT).await?;
        let entries: Vec<Entry> = serde_json::from_str(&entries)?;
        // If it failed before the properties were first read, `wanted` is something else; but it was pinned.
        let missed = std::mem::take(&mut is_first);
        let failed = entries.into_iter().find(|entry| {
            u128::from(entry.at) >= asked_at
                && entry.event == Kind::Failed
                && (entry.to == wanted || missed && entry.reason.starts_with(PINNED))
        });
        let fails = |why: String| Err(WithCode::error(Code::Failed, why));
        if let Some(Entry { to, error, .. }) = failed {
            return fails(format!("{to} is not pinned: {error}"));
        }
        let (mode, desired, reason) = (text("Mode"), text("DesiredScheduler"), text("Reason"));
        if mode != "pinned" || desired != wanted {
            let instead = format!("{mode}: {desired}, {reason}");
            return fails(format!("{wanted} is not pinned any more; {instead}"));
        }
        // This waits until the old process has ended too.
        if text("CurrentOwner") == owner && why.mode == "pinned" && why.waits.is_none() {
            let until = match lasts {
                Some(lasts) => format!("for {}", humantime::format_duration(lasts)),
                None => "until `auto-ext unpin`".to_owned(),
            };
            let current = text("CurrentScheduler");
            writeln!(io::stdout(), "{current} runs now, pinned {until}")?;
            return Ok(ExitCode::SUCCESS);
        }
        if begun.elapsed() > RUNS_WITHIN {
            return fails(format!("it does not run yet: {reason}"));
        }
        sleep(POLL).await;
    }
}

/// Leaves the choice to the policy.
pub(crate) async fn unpin() -> anyhow::Result<ExitCode> {
    let client = Client::connect().await?;
    let () = client.call("Unpin", &()).await?;
    let properties = client.properties().await?;
    let (mode, desired) = (
        text(&properties, "Mode"),
        text(&properties, "DesiredScheduler"),
    );
    let reason = text(&properties, "Reason");
    writeln!(
        io::stdout(),
        "{}",
        sanitize(&format!("{mode}: {desired}, {reason}"))
    )?;
    Ok(ExitCode::SUCCESS)
}

fn text<'p>(properties: &'p Properties, name: &str) -> &'p str {
    properties
        .get(name)
        .and_then(|value| <&str>::try_from(&**value).ok())
        .unwrap_or_default()
}
