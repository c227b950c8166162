//! The daemon as a source of news, and what it is asked to do.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::model::Facts;
use super::news::News;
use super::pace::Rest;
use super::ui::{Command, Note};
use crate::cli::commands::client::Client;

/// After how long without a signal from it the daemon is asked anyway.
const ASK_AFTER: Duration = Duration::from_secs(5);
/// How often the explanation is asked for, as long as something changes.
const WHY_EVERY: Duration = Duration::from_secs(2);
/// How often the history is asked for although no property of the daemon changed: refusals change none.
const HISTORY_EVERY: Duration = Duration::from_secs(30);
/// How many entries of the history are shown.
const ENTRIES: u32 = 200;
/// How long to wait before a bus that cannot be reached is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// Reports what the daemon says until nobody receives it. Pauses between questions, so that several changes at once count
/// as one.
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

/// Does what a person asks for, and reports the outcome.
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
    // The view may have ended.
    let _ = news.send(News::Answer(note)).await;
}

/// Reports what the daemon says until nobody receives it.
///
/// # Errors
/// When the bus is gone.
async fn listen(client: &Client, news: &mpsc::Sender<News>, rest: &Rest) -> anyhow::Result<()> {
    let mut changes = client.changes().await?;
    let mut last = LastQuestions::default();
    loop {
        let answers = match last.ask(client).await {
            Ok(answers) => answers,
            Err(error) => {
                last = LastQuestions::default();
                vec![News::DaemonIsGone(error.to_string())]
            }
        };
        for new in answers {
            if news.send(new).await.is_err() {
                return Ok(());
            }
        }
        // Without a signal it is asked too, as the daemon may hang.
        if let Ok(None) = timeout(ASK_AFTER, changes.next()).await {
            anyhow::bail!("the system bus is gone");
        }
        sleep(rest.get()).await;
        while let Some(Some(())) = changes.next().now_or_never() {}
    }
}

/// When the daemon was last asked, and what it then answered.
#[derive(Default)]
struct LastQuestions {
    why: Option<Instant>,
    history: Option<Instant>,
    /// Values that change with the history or with the decision.
    last: Option<(u64, String, String)>,
}

impl LastQuestions {
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
