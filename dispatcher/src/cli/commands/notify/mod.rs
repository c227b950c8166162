//! `auto-ext notify`: tells the desktop when a scheduler failed or was quarantined and when the safe mode began, and nothing
//! else. Goes on over restarts of the daemon, of the buses and of who shows notices.
//!
//! `notices` says which notice follows from how things are, `desktop` shows them, `pace` says how seldom.

mod desktop;
mod notices;
mod pace;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use auto_ext_service::clock::now_us;
use auto_ext_service::sanitize::sanitize;
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use crate::persistence::history::Entry;
use desktop::Desktop;
use notices::{Facts, Told, notice};
use pace::Pace;

/// The properties of the daemon that change with what notices are about.
const PROPERTIES: &[&str] = &["LastError", "Quarantined", "Mode"];
/// How long to wait for what else belongs to a change.
const SETTLED_AFTER: Duration = Duration::from_millis(500);
/// How many entries of the history are looked at.
const ENTRIES: u32 = 50;
/// How long to wait before a daemon that gave no answer is asked again.
const ASK_AGAIN: Duration = Duration::from_mins(1);
/// How long to wait before a bus that cannot be reached is tried again, at first and at most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// Tells the desktop until it is ended.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let mut notifier = Notifier::default();
    let mut retry = RETRY;
    loop {
        match listen().await {
            Ok((client, changes)) => {
                retry = RETRY;
                notifier.follow(&client, changes).await;
            }
            Err(error) => notifier.say(&error),
        }
        sleep(retry).await;
        retry = (2 * retry).min(RETRY_AT_MOST);
    }
}

/// The daemon, which may not run yet, and an item whenever it has something that there may be a notice about.
async fn listen() -> anyhow::Result<(Client, impl Stream<Item = ()> + Unpin)> {
    let client = Client::connect().await?;
    let changes = client.changes_of(PROPERTIES).await?;
    Ok((client, changes))
}

/// What was told, and how.
#[derive(Default)]
struct Notifier {
    told: Option<Told>,
    desktop: Desktop,
    pace: Pace,
    /// The end of the last pause.
    rested: Option<Instant>,
    /// The last trouble that was said.
    said: String,
}

/// When to look next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// After a change.
    Changed,
    /// After a change, or this time.
    ChangedOr(Duration),
    /// After this time.
    After(Duration),
}

impl Notifier {
    /// Tells what there is to tell until the bus is gone.
    async fn follow(&mut self, client: &Client, mut changes: impl Stream<Item = ()> + Unpin) {
        loop {
            let next = match look(client).await {
                Ok(facts) => self.tell(&facts).await,
                // It does not run, most likely, and is heard of when it does.
                Err(_) => Next::ChangedOr(ASK_AGAIN),
            };
            let changed = match next {
                Next::Changed => changes.next().await,
                Next::ChangedOr(limit) => timeout(limit, changes.next()).await.unwrap_or(Some(())),
                Next::After(pause) => pass(pause, &mut changes).await,
            };
            if changed.is_none() || pass(SETTLED_AFTER, &mut changes).await.is_none() {
                return;
            }
        }
    }

    /// Tells what follows from how things are. What cannot be shown is told later, with what then follows.
    async fn tell(&mut self, facts: &Facts) -> Next {
        let (notice, told) = notice(self.told.as_ref(), facts);
        if let Some(notice) = &notice
            && let Err(error) = self.desktop.show(notice).await
        {
            self.say(&error);
            return self.pause();
        }
        self.told = Some(told);
        match notice {
            None => Next::Changed,
            Some(_) => self.pause(),
        }
    }

    fn pause(&mut self) -> Next {
        let since = self.rested.map_or(Duration::MAX, |rested| rested.elapsed());
        let pause = self.pace.next(since);
        self.rested = Some(Instant::now() + pause);
        Next::After(pause)
    }

    /// Says what is in the way, but not twice in a row.
    fn say(&mut self, error: &anyhow::Error) {
        let trouble = sanitize(&format!("{error:#}"));
        if trouble != self.said {
            // Without standard error there is nowhere to write it.
            let _ = writeln!(io::stderr(), "auto-ext: {trouble}; trying again");
            self.said = trouble;
        }
    }
}

/// Lets this time pass, and changes with it, for which room is limited; nothing when the bus is gone.
async fn pass(time: Duration, changes: &mut (impl Stream<Item = ()> + Unpin)) -> Option<()> {
    let all = async { while changes.next().await.is_some() {} };
    timeout(time, all).await.err().map(drop)
}

/// How things are. The history is asked for first: of each failure in it the quarantine is then known.
async fn look(client: &Client) -> anyhow::Result<Facts> {
    let history: String = client.call("History", &ENTRIES).await?;
    let history: Vec<Entry> = serde_json::from_str(&history)?;
    let properties = client.properties().await?;
    Ok(Facts::of(now_us(), &properties, history))
}
