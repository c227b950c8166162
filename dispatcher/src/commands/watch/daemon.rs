//! The daemon as a source: what it says whenever something changed, and what it is asked to do.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::News;
use super::model::Facts;
use super::pace::Rest;
use super::ui::{Command, Note};
use crate::commands::client::Client;

/// How long it may be silent before it is asked whether it is still there.
const ASK_AFTER: Duration = Duration::from_secs(5);
/// How often it is asked why, as long as something changes.
const WHY_EVERY: Duration = Duration::from_secs(2);
/// How often the history is asked for although nothing seems to have happened: what was refused
/// changes nothing.
const HISTORY_EVERY: Duration = Duration::from_secs(30);
/// How many entries of the history are shown.
const ENTRIES: u32 = 200;
/// How long it is waited for a bus that cannot be reached.
const RETRY: Duration = Duration::from_secs(3);

/// Tells what the daemon says until nobody listens. Rests between questions: several changes at
/// once are one.
pub(super) async fn follow(news: mpsc::Sender<News>, rest: Rest) {
    loop {
        let error = match Client::connect().await {
            Ok(client) => match listen(&client, &news, &rest).await {
                Ok(()) => return,
                Err(error) => error,
            },
            Err(error) => error,
        };
        if news
            .send(News::DaemonIsGone(error.to_string()))
            .await
            .is_err()
        {
            return;
        }
        sleep(RETRY).await;
    }
}

/// Carries out what a person asks for, and tells what came of it.
pub(super) async fn ask(command: Command, news: mpsc::Sender<News>) {
    let asked = async {
        let client = Client::connect().await?;
        match &command {
            Command::Pin { name, seconds } => {
                let none: &[&str] = &[];
                let () = client.call("Pin", &(name, none, seconds)).await?;
                anyhow::Ok(format!("{name} is pinned"))
            }
            Command::Unpin => {
                let () = client.call("Unpin", &()).await?;
                Ok("the policy decides again".to_owned())
            }
            Command::Quit | Command::Redraw | Command::Suspend => Ok(String::new()),
        }
    };
    let note = match asked.await {
        Ok(text) => Note {
            text,
            failed: false,
        },
        Err(error) => Note {
            text: error.to_string(),
            failed: true,
        },
    };
    // Whoever asked may have left.
    let _ = news.send(News::Answer(note)).await;
}

/// Tells what the daemon says until nobody listens, or the bus is gone.
async fn listen(client: &Client, news: &mpsc::Sender<News>, rest: &Rest) -> anyhow::Result<()> {
    let mut changes = client.changes().await?;
    let mut asked = Asked::default();
    loop {
        let told = match asked.ask(client).await {
            Ok(told) => told,
            Err(error) => {
                asked = Asked::default();
                vec![News::DaemonIsGone(error.to_string())]
            }
        };
        for new in told {
            if news.send(new).await.is_err() {
                return Ok(());
            }
        }
        // Silence is as good as a change: the daemon may hang.
        if let Ok(None) = timeout(ASK_AFTER, changes.next()).await {
            anyhow::bail!("the system bus is gone");
        }
        sleep(rest.get()).await;
        while let Some(Some(())) = changes.next().now_or_never() {}
    }
}

/// What was asked last.
#[derive(Default)]
struct Asked {
    why: Option<Instant>,
    history: Option<Instant>,
    /// What changes when the history has more, and why it is another decision.
    last: Option<(u64, String, String)>,
}

impl Asked {
    /// Asks for what may have changed.
    async fn ask(&mut self, client: &Client) -> anyhow::Result<Vec<News>> {
        let facts = Facts::of(&client.properties().await?);
        let now = Instant::now();
        let last = (
            facts.switches,
            facts.reason.clone(),
            facts.last_error.clone(),
        );
        let changed = self.last.as_ref() != Some(&last);
        let due = |at: Option<Instant>, every| at.is_none_or(|at| now.duration_since(at) >= every);
        let mut news = vec![News::Facts(Box::new(facts))];
        if changed || due(self.why, WHY_EVERY) {
            let why: String = client.call("Why", &()).await?;
            news.push(News::Why(Box::new(serde_json::from_str(&why)?)));
            self.why = Some(now);
        }
        if changed || due(self.history, HISTORY_EVERY) {
            let history: String = client.call("History", &ENTRIES).await?;
            news.push(News::History(serde_json::from_str(&history)?));
            self.history = Some(now);
        }
        self.last = Some(last);
        Ok(news)
    }
}
