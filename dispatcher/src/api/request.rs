//! What callers may ask of the daemon, and what it answers.
//!
//! Whether a caller may ask at all is checked before (`dbus`), whether it can be done, by the daemon. What only says how
//! things are it is asked once for all callers, until its state changes: those who ask without end cost it no more than
//! one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use auto_ext_policy::{MAX_ARG, MAX_ARGS};
use auto_ext_trials::{Comparison, Export};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::persistence::history::Entry;
use crate::scx_loader::clients::{Ask, How};
use crate::trace::recent::RecentTrace;

/// How many requests may wait for the daemon.
const WAITING: usize = 32;
/// How old an answer that is given again may be.
const FRESH: Duration = Duration::from_millis(250);
/// Limit of the texts that explain a hold or a lease, in bytes.
const MAX_TEXT: usize = 256;
/// Limits of what a comparison found, and of what is imported, in bytes of JSON: thirty pairs are a hundredth of the first.
const MAX_COMPARISON: usize = 64 << 10;
pub(crate) const MAX_EXPORT: usize = 1 << 20;

/// What the daemon is asked to do or to say.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// Run this, whatever is measured.
    Pin {
        /// As in a rule's `use`.
        name: String,
        /// In place of the policy's, unless empty.
        args: Vec<String>,
        /// For how long; `None`: until it is unpinned.
        lasts: Option<Duration>,
    },
    /// Leave the choice to the policy.
    Unpin,
    /// Keep what runs; answered with [`Answer::Cookie`].
    Hold {
        application: String,
        reason: String,
        /// The caller's name on the bus.
        owner: String,
    },
    /// Run this for as long as its owner is there; answered with [`Answer::Cookie`].
    Lease {
        /// As in a rule's `use`.
        name: String,
        /// In place of the policy's, unless empty.
        args: Vec<String>,
        application: String,
        reason: String,
        /// The caller's name on the bus.
        owner: String,
        /// What the caller may name.
        may_name: MayName,
        /// It is for a turn of a comparison, whose switches have a limit of their own.
        is_turn: bool,
    },
    /// End a hold or a lease of this owner.
    Release { cookie: u32, owner: String },
    /// End all holds and leases of this owner.
    OwnerLeft { owner: String },
    /// What a client of org.scx.Loader asks for.
    ScxLoader {
        ask: Ask,
        /// Which client.
        client: String,
    },
    /// Consent to trials for this time, in the first part of it without the shares of the budget; for no time: not any more.
    Learn { lasts: Duration, lifted: Duration },
    /// End the trial that is on.
    EndTrial,
    /// Forget what trials found.
    Forget {
        /// For which class; `None`: for all.
        class: Option<String>,
    },
    /// Keep what a comparison found; answered with [`Answer::Text`] for people.
    Keep {
        /// For which class.
        class: String,
        comparison: Box<Comparison>,
    },
    /// Take in what trials found on other machines; answered with [`Answer::Text`] for people.
    Import { export: Box<Export> },
    /// All that is known of trials; answered with [`Answer::Text`] of JSON.
    Trials,
    /// Read the policy again, and end the safe mode.
    Reload,
    /// Forget the failures of the program of this scheduler.
    ResetFailed {
        /// As in a rule's `use`.
        name: String,
    },
    /// The last entries of the history; answered with [`Answer::Entries`].
    History { count: u32 },
    /// The last decision with all that led to it; answered with [`Answer::Text`] of JSON.
    Why,
    /// The metrics; answered with [`Answer::Text`] of OpenMetrics.
    Metrics,
    /// What is shown in a browser; answered with [`Answer::Text`] of HTML.
    Page,
    /// What was measured in this time until now; answered with [`Answer::Trace`].
    Trace { last: Duration },
}

/// Which schedulers a caller may have run, without arguments of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayName {
    /// Those that the policy names, and the kernel's own.
    ThoseOfThePolicy,
    /// Any.
    Any,
}

/// The daemon's answer when it did what it was asked.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Cookie(u32),
    /// A text in the format that was asked for.
    Text(String),
    /// The newest first.
    Entries(Vec<Arc<Entry>>),
    Trace(RecentTrace),
}

/// Why the daemon does not do it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request is wrong, or names something that does not exist.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be done on this machine, or not now.
    #[error("{0}")]
    Unavailable(String),
    /// The caller may not; see [`MayName`].
    #[error("{0}")]
    NotPermitted(String),
    /// A limit is exceeded.
    #[error("{0}")]
    TooMuch(String),
}

/// A request, and where its answer is to be sent.
pub(crate) type QueuedRequest = (Request, oneshot::Sender<Result<Answer, Refusal>>);

/// The sending end of the queue of requests.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    daemon: mpsc::Sender<QueuedRequest>,
    answers: Arc<Answers>,
}

/// The answers that may be given again.
#[derive(Debug, Default)]
struct Answers {
    /// How often the daemon's state changed.
    changes: AtomicU64,
    why: Mutex<Option<TextAnswer>>,
    trials: Mutex<Option<TextAnswer>>,
    metrics: Mutex<Option<TextAnswer>>,
    page: Mutex<Option<TextAnswer>>,
}

/// A text that the daemon answered.
#[derive(Debug)]
struct TextAnswer {
    /// How often the daemon's state had changed by then.
    changes: u64,
    at: Instant,
    text: String,
}

impl Requests {
    /// A queue, with both its ends.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<QueuedRequest>) {
        let (daemon, receiver) = mpsc::channel(WAITING);
        let answers = Arc::default();
        (Self { daemon, answers }, receiver)
    }

    /// The daemon's state changed: answers from before are out of date.
    pub(crate) fn state_changed(&self) {
        self.answers.changes.fetch_add(1, Ordering::Release);
    }

    /// Asks the daemon and waits for its answer.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        let last = match request {
            Request::Why => &self.answers.why,
            Request::Trials => &self.answers.trials,
            Request::Metrics => &self.answers.metrics,
            Request::Page => &self.answers.page,
            _ => return self.ask_daemon(request).await,
        };
        // Further callers wait here for the same answer.
        let mut last = last.lock().await;
        let changes = self.answers.changes.load(Ordering::Acquire);
        if let Some(answer) = &*last
            && answer.changes == changes
            && answer.at.elapsed() < FRESH
        {
            return Ok(Answer::Text(answer.text.clone()));
        }
        let at = Instant::now();
        let answer = self.ask_daemon(request).await?;
        if let Answer::Text(text) = &answer {
            *last = Some(TextAnswer {
                changes,
                at,
                text: text.clone(),
            });
        }
        Ok(answer)
    }

    async fn ask_daemon(&self, request: Request) -> Result<Answer, Refusal> {
        request.check()?;
        let (answer, answered) = oneshot::channel();
        self.daemon
            .try_send((request, answer))
            .map_err(|_| Refusal::TooMuch("too many requests wait already".to_owned()))?;
        answered
            .await
            .unwrap_or_else(|_| Err(Refusal::Unavailable("the daemon is stopping".to_owned())))
    }
}

impl Request {
    /// A pin as it is asked for on the bus, where a time of 0 seconds means: until it is unpinned.
    pub(crate) fn pin(name: String, args: Vec<String>, seconds: u32) -> Self {
        let lasts = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
        Self::Pin { name, args, lasts }
    }

    /// A consent as it is given on the bus: for so many seconds, in the first `lifted` of which the budget's shares do not count.
    pub(crate) fn learn(seconds: u32, lifted: u32) -> Self {
        Self::Learn {
            lasts: Duration::from_secs(u64::from(seconds)),
            lifted: Duration::from_secs(u64::from(lifted)),
        }
    }

    /// As it is asked for on the bus, where no class means all.
    pub(crate) fn forget(class: String) -> Self {
        let class = (!class.is_empty()).then_some(class);
        Self::Forget { class }
    }

    /// As it is asked for on the bus, with what was compared as JSON.
    ///
    /// # Errors
    /// When that is too long, or something else.
    pub(crate) fn keep(class: String, json: &str) -> Result<Self, Refusal> {
        let comparison = Box::new(from_json("the comparison", json, MAX_COMPARISON)?);
        Ok(Self::Keep { class, comparison })
    }

    /// As it is asked for on the bus, with what was exported as JSON.
    ///
    /// # Errors
    /// When that is too long, or something else.
    pub(crate) fn import(json: &str) -> Result<Self, Refusal> {
        let export = Box::new(from_json("the export", json, MAX_EXPORT)?);
        Ok(Self::Import { export })
    }

    /// Whether all texts and lists are within their limits.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Pin { name, args, .. } => scheduler(name, args),
            Self::Hold {
                application,
                reason,
                ..
            } => asked_by(application, reason),
            Self::Lease {
                name,
                args,
                application,
                reason,
                ..
            } => {
                scheduler(name, args)?;
                asked_by(application, reason)
            }
            Self::ResetFailed { name } => text("the name", name, MAX_TEXT),
            Self::Forget { class: Some(class) } => text("the class", class, MAX_TEXT),
            Self::Keep { class, comparison } => {
                text("the class", class, MAX_TEXT)?;
                text("the name", &comparison.scheduler, MAX_TEXT)
            }
            // What is read from JSON is sound.
            Self::Import { .. } => Ok(()),
            // The daemon bounds it.
            Self::Learn { lasts, lifted } if lifted > lasts => Err(Refusal::Invalid(
                "the shares of the budget are lifted for longer than somebody consents".to_owned(),
            )),
            Self::Learn { .. } | Self::EndTrial | Self::Forget { class: None } | Self::Trials => {
                Ok(())
            }
            Self::ScxLoader {
                ask: Ask::Run { command, how },
                ..
            } => match how {
                How::Arguments(args) => scheduler(command, args),
                How::Mode(_) => scheduler(command, &[]),
            },
            Self::Unpin
            | Self::Release { .. }
            | Self::OwnerLeft { .. }
            | Self::ScxLoader { .. }
            | Self::Reload
            | Self::History { .. }
            | Self::Why
            | Self::Metrics
            | Self::Page
            | Self::Trace { .. } => Ok(()),
        }
    }
}

fn scheduler(name: &str, args: &[String]) -> Result<(), Refusal> {
    if args.len() > MAX_ARGS {
        let message = format!("there are more than {MAX_ARGS} arguments");
        return Err(Refusal::Invalid(message));
    }
    text("the name", name, MAX_TEXT)?;
    args.iter()
        .try_for_each(|arg| text("an argument", arg, MAX_ARG))
}

/// What a caller sent as JSON.
fn from_json<T: DeserializeOwned>(what: &str, json: &str, max: usize) -> Result<T, Refusal> {
    if json.len() > max {
        let message = format!("{what} is longer than {max} bytes");
        return Err(Refusal::Invalid(message));
    }
    serde_json::from_str(json).map_err(|error| Refusal::Invalid(format!("{what}: {error}")))
}

fn asked_by(application: &str, reason: &str) -> Result<(), Refusal> {
    if application.is_empty() {
        let message = "the name of the application is missing";
        return Err(Refusal::Invalid(message.to_owned()));
    }
    text("the application", application, MAX_TEXT)?;
    text("the reason", reason, MAX_TEXT)
}

fn text(what: &str, text: &str, max: usize) -> Result<(), Refusal> {
    let refusal = if text.len() > max {
        format!("{what} is longer than {max} bytes")
    } else if text.chars().any(char::is_control) {
        format!("{what} contains a control character")
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(name: &str, args: &[&str]) -> Request {
        Request::Pin {
            name: name.into(),
            args: args.iter().map(|&arg| arg.into()).collect(),
            lasts: None,
        }
    }

    #[test]
    fn what_callers_pass_is_bounded() {
        assert_eq!(pin("bpfland", &["-m", "performance"]).check(), Ok(()));
        let long = "x".repeat(MAX_ARG + 1);
        let many = vec!["-x"; MAX_ARGS + 1];
        for request in [
            Request::forget(String::new()),
            Request::forget("network".into()),
            Request::learn(60, 60),
            Request::learn(0, 0),
        ] {
            assert_eq!(request.check(), Ok(()));
        }
        let hold = |application: &str, reason: &str| Request::Hold {
            application: application.into(),
            reason: reason.into(),
            owner: ":1.7".into(),
        };
        let lease = |name: &str, args: &[&str], application: &str| Request::Lease {
            name: name.into(),
            args: args.iter().map(|&arg| arg.into()).collect(),
            application: application.into(),
            reason: String::new(),
            owner: ":1.7".into(),
            may_name: MayName::Any,
            is_turn: false,
        };
        for request in [
            pin(&long, &[]),
            pin("bpfland\n", &[]),
            pin("bpfland", &[&long]),
            pin("bpfland", &["a\0b"]),
            pin("bpfland", &many),
            hold("", "because"),
            hold("game", &long),
            hold("game\u{1b}[2J", ""),
            lease(&long, &[], "game"),
            lease("bpfland", &[&long], "game"),
            lease("bpfland", &[], ""),
            Request::forget(long.clone()),
            Request::forget("a\u{1b}".into()),
            Request::learn(60, 61),
            Request::keep("a\u{1b}".into(), &comparison("bpfland")).unwrap(),
            Request::keep("a".into(), &comparison(&long)).unwrap(),
        ] {
            assert!(
                matches!(request.check(), Err(Refusal::Invalid(_))),
                "{request:?}"
            );
        }
    }

    fn comparison(scheduler: &str) -> String {
        format!(
            r#"{{"scheduler": "{scheduler}", "by": "time", "ratios": [0.1], "challengers": 1, "with_sleepers": true, "took_s": 1}}"#
        )
    }

    #[test]
    fn what_callers_send_as_json_is_bounded_and_made_of_what_it_should() {
        let keep = |json: &str| Request::keep("a".into(), json);
        assert_eq!(keep(&comparison("bpfland")).unwrap().check(), Ok(()));
        let long = comparison(&"x".repeat(MAX_COMPARISON));
        for wrong in [
            "",
            "{}",
            "[1]",
            &comparison("a").replace("0.1", "1e999"),
            &long,
        ] {
            assert!(matches!(keep(wrong), Err(Refusal::Invalid(_))), "{wrong}");
        }
        let nothing = r#"{"export": 1, "records": []}"#;
        assert!(Request::import(nothing).is_ok());
        let long = format!("{nothing}{}", " ".repeat(MAX_EXPORT));
        for wrong in ["", "{}", &nothing.replace('1', "2"), &long] {
            assert!(matches!(Request::import(wrong), Err(Refusal::Invalid(_))));
        }
    }

    #[tokio::test]
    async fn a_thousand_who_ask_at_once_how_things_are_cost_the_daemon_one_answer() {
        let (requests, mut receiver) = Requests::channel();
        let asking: Vec<_> = (0..1000)
            .map(|_| {
                let requests = requests.clone();
                tokio::spawn(async move { requests.ask(Request::Metrics).await })
            })
            .collect();
        let answering = tokio::spawn(async move {
            let mut asked = 0_u32;
            while let Some((_, answer)) = receiver.recv().await {
                asked += 1;
                answer.send(Ok(Answer::Text(asked.to_string()))).unwrap();
            }
            asked
        });
        for asked in asking {
            asked.await.unwrap().unwrap();
        }
        drop(requests);
        // More only where they took longer than an answer stays fresh.
        let asked = answering.await.unwrap();
        assert!(asked < 100, "{asked}");
    }

    #[tokio::test]
    async fn an_answer_is_asked_for_again_once_the_state_has_changed() {
        let (requests, mut receiver) = Requests::channel();
        tokio::spawn(async move {
            let mut asked = 0_u32;
            while let Some((_, answer)) = receiver.recv().await {
                asked += 1;
                answer.send(Ok(Answer::Text(asked.to_string()))).unwrap();
            }
        });
        let text = |number: u32| Ok(Answer::Text(number.to_string()));
        assert_eq!(requests.ask(Request::Metrics).await, text(1));
        assert_eq!(requests.ask(Request::Why).await, text(2));
        assert_eq!(requests.ask(Request::Page).await, text(3));
        requests.state_changed();
        assert_eq!(requests.ask(Request::Metrics).await, text(4));
        assert_eq!(requests.ask(Request::Page).await, text(5));
    }

    #[tokio::test]
    async fn a_daemon_that_does_not_keep_up_gets_no_more_requests() {
        let (requests, receiver) = Requests::channel();
        let asking: Vec<_> = (0..WAITING)
            .map(|_| {
                let requests = requests.clone();
                tokio::spawn(async move { requests.ask(Request::Unpin).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(matches!(
            requests.ask(Request::Unpin).await,
            Err(Refusal::TooMuch(_))
        ));
        drop(receiver);
        for asked in asking {
            assert!(matches!(asked.await.unwrap(), Err(Refusal::Unavailable(_))));
        }
    }
}
