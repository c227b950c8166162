//! Whether a caller on D-Bus may change something: root and the service's own user may, everybody else if polkit
//! authorizes them. When polkit does not answer they may not.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auto_ext_service::budget::{Budgets, Rate};
use auto_ext_service::lock::lock;
use futures_util::StreamExt as _;
use tokio::time::timeout;
use zbus::message::{Flags, Header};
use zbus::names::BusName;
use zbus::{Connection, fdo};
use zbus_polkit::policykit1::{
    AuthorityProxy, AuthorizationResult, CheckAuthorizationFlags, Subject,
};

use crate::callers::left;

/// What polkit says of an action that no package has registered.
const NOT_REGISTERED: &str = "is not registered";
/// How long polkit may take to answer without asking a person.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a person may take to answer polkit's question.
const PERSON_WITHIN: Duration = Duration::from_secs(120);
/// How many questions may be open, of all users and of one.
const OPEN_QUESTIONS: usize = 8;
const OF_ONE_USER: usize = 2;
/// How many methods a user may call.
const CALLS: Rate = Rate {
    burst: 20.0,
    per_second: 4.0,
};
/// How often a user may read properties: more often, as they are short.
const READINGS: Rate = Rate {
    burst: 200.0,
    per_second: 40.0,
};
/// For how many callers it is remembered which users they are.
const CALLERS: usize = 256;

/// How many questions polkit was asked. Each has a number, by which it can be cancelled.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Who may call what, and how often.
#[derive(Debug)]
pub struct Authorization {
    /// The users for whom questions are open.
    questions: Mutex<Vec<u32>>,
    calls: Budgets,
    readings: Budgets,
    /// Which users callers are. A name on a bus is never another caller's.
    users: Mutex<HashMap<String, u32>>,
}

impl Default for Authorization {
    fn default() -> Self {
        Self {
            questions: Mutex::default(),
            calls: Budgets::new(CALLS),
            readings: Budgets::new(READINGS),
            users: Mutex::default(),
        }
    }
}

impl Authorization {
    /// Nobody has called yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the caller may call a method that changes nothing.
    ///
    /// # Errors
    /// When it calls too often.
    pub async fn read(&self, bus: &Connection, header: &Header<'_>) -> fdo::Result<()> {
        spend(&self.calls, self.user(bus, header).await?)
    }

    /// Whether the caller may read properties.
    ///
    /// # Errors
    /// When it reads too often.
    pub async fn read_properties(&self, bus: &Connection, header: &Header<'_>) -> fdo::Result<()> {
        spend(&self.readings, self.user(bus, header).await?)
    }

    /// Whether the caller may do what takes this action of polkit's. A person may be asked if the caller says so.
    ///
    /// # Errors
    /// When it may not.
    pub async fn may(
        &self,
        action: &'static str,
        bus: &Connection,
        header: &Header<'_>,
    ) -> fdo::Result<()> {
        let flags = header.primary().flags();
        let interactive = flags.contains(Flags::ALLOW_INTERACTIVE_AUTH);
        self.may_by_first(&[action], bus, header, interactive).await
    }

    /// Whether the caller may do this by the first of the actions that is registered. `interactive`: a person may be asked.
    ///
    /// # Errors
    /// When it may not.
    pub async fn may_by_first(
        &self,
        actions: &[&str],
        bus: &Connection,
        header: &Header<'_>,
        interactive: bool,
    ) -> fdo::Result<()> {
        let user = self.user(bus, header).await?;
        if user == 0 || user == nix::unistd::geteuid().as_raw() {
            return Ok(());
        }
        spend(&self.calls, user)?;
        let Some(_question) = self.open_question(user) else {
            let message = "too many callers wait for an authorization";
            return Err(fdo::Error::LimitsExceeded(message.to_owned()));
        };
        let mut denied = String::new();
        for action in actions {
            let why = match ask_polkit(action, bus, header, interactive).await {
                Ok(None) => return Ok(()),
                Ok(Some(why)) => why.to_owned(),
                Err(error) => format!("polkit cannot be asked: {error}"),
            };
            let is_registered = !why.contains(NOT_REGISTERED);
            denied = format!("not permitted ({action}): {why}");
            if is_registered {
                break;
            }
        }
        tracing::info!(user, "user {user} is {denied}");
        Err(fdo::Error::AccessDenied(denied))
    }

    /// Opens a question, until what is returned is dropped.
    fn open_question(&self, user: u32) -> Option<Question<'_>> {
        let mut open = lock(&self.questions);
        let theirs = open.iter().filter(|of| **of == user).count();
        if open.len() >= OPEN_QUESTIONS || theirs >= OF_ONE_USER {
            return None;
        }
        open.push(user);
        Some(Question { of: self, user })
    }

    /// The user who calls, as the bus knows.
    ///
    /// # Errors
    /// When the caller has left.
    pub async fn user(&self, bus: &Connection, header: &Header<'_>) -> fdo::Result<u32> {
        let Some(sender) = header.sender() else {
            return Err(fdo::Error::AccessDenied("who calls?".to_owned()));
        };
        if let Some(user) = lock(&self.users).get(sender.as_str()) {
            return Ok(*user);
        }
        let user = fdo::DBusProxy::new(bus)
            .await?
            .get_connection_unix_user(BusName::Unique(sender.to_owned()))
            .await?;
        let mut users = lock(&self.users);
        if users.len() >= CALLERS {
            // Those who still call are found out again.
            users.clear();
        }
        users.insert(sender.to_string(), user);
        Ok(user)
    }
}

fn spend(budgets: &Budgets, user: u32) -> fdo::Result<()> {
    if user == 0 || budgets.spend(user) {
        return Ok(());
    }
    let message = "too many calls, try again in a second";
    Err(fdo::Error::LimitsExceeded(message.to_owned()))
}

/// A question that is open.
struct Question<'a> {
    of: &'a Authorization,
    user: u32,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut open = lock(&self.of.questions);
        if let Some(at) = open.iter().position(|user| *user == self.user) {
            open.swap_remove(at);
        }
    }
}

/// Why the caller may not; `None` when it may.
async fn ask_polkit(
    action: &str,
    bus: &Connection,
    header: &Header<'_>,
    interactive: bool,
) -> zbus::Result<Option<&'static str>> {
    let subject = Subject::new_for_message_header(header)
        .map_err(|error| zbus::Error::Failure(error.to_string()))?;
    let authority = AuthorityProxy::new(bus).await?;
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    let cancellation = format!("auto-ext-{number}");
    let details = HashMap::new();
    let ask =
        |flags| authority.check_authorization(&subject, action, &details, flags, &cancellation);
    let cancel = async {
        let cancelled = authority.cancel_check_authorization(&cancellation);
        // If polkit does not take this either, there is nothing more to be done.
        let _ = timeout(ANSWER_WITHIN, cancelled).await;
    };
    if !interactive {
        let asked = ask(CheckAuthorizationFlags::default());
        return answered(asked, ANSWER_WITHIN, pending(), cancel).await;
    }
    let asked = ask(CheckAuthorizationFlags::ALLOW_USER_INTERACTION);
    let caller = header.sender().map(ToString::to_string).unwrap_or_default();
    let caller_left = async {
        if let Ok(mut left) = left(bus, &caller).await {
            left.next().await;
        }
    };
    answered(asked, PERSON_WITHIN, caller_left, cancel).await
}

/// What polkit answers, as in [`ask_polkit`]. When the time is up or the caller is gone the question is cancelled, so
/// that no dialog stays open whose answer nobody waits for.
async fn answered(
    asked: impl Future<Output = zbus::Result<AuthorizationResult>>,
    within: Duration,
    gone: impl Future<Output = ()>,
    cancel: impl Future<Output = ()>,
) -> zbus::Result<Option<&'static str>> {
    let why = tokio::select! {
        answer = timeout(within, asked) => match answer {
            Ok(Ok(result)) if result.is_authorized => return Ok(None),
            Ok(Ok(result)) if result.is_challenge => {
                return Ok(Some("needs the password of an administrator"));
            }
            Ok(Ok(_)) => return Ok(Some("polkit says no")),
            Ok(Err(error)) => return Err(error),
            Err(_) => "nobody answered in time",
        },
        () = gone => "the caller has left",
    };
    cancel.await;
    Ok(Some(why))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;

    #[test]
    fn root_may_ask_as_often_as_it_likes_and_a_user_may_not() {
        let authorization = Authorization::new();
        for budgets in [&authorization.calls, &authorization.readings] {
            assert!((0..1000).all(|_| spend(budgets, 0).is_ok()));
            let allowed = (0..1000).filter(|_| spend(budgets, 1000).is_ok()).count();
            assert!(allowed < 500, "{allowed}");
        }
    }

    #[test]
    fn one_user_cannot_open_all_questions() {
        let authorization = Authorization::new();
        let of_one: Vec<_> = (0..8)
            .filter_map(|_| authorization.open_question(1000))
            .collect();
        assert_eq!(of_one.len(), OF_ONE_USER);
        let of_others: Vec<_> = (0..20)
            .filter_map(|user| authorization.open_question(user))
            .collect();
        assert_eq!(of_others.len(), OPEN_QUESTIONS - OF_ONE_USER);
        drop((of_one, of_others));
        assert!(authorization.open_question(1000).is_some());
    }

    #[tokio::test]
    async fn a_question_whose_answer_nobody_waits_for_is_cancelled() {
        let cancelled = Cell::new(0);
        let cancel = || async { cancelled.set(cancelled.get() + 1) };
        let soon = Duration::from_millis(20);
        let answer = answered(pending(), soon, pending(), cancel()).await;
        assert_eq!(answer.unwrap(), Some("nobody answered in time"));
        assert_eq!(cancelled.get(), 1);
        let answer = answered(pending(), PERSON_WITHIN, ready(()), cancel()).await;
        assert_eq!(answer.unwrap(), Some("the caller has left"));
        assert_eq!(cancelled.get(), 2);
        let yes = AuthorizationResult {
            is_authorized: true,
            is_challenge: false,
            details: HashMap::new(),
        };
        let answer = answered(ready(Ok(yes)), PERSON_WITHIN, pending(), cancel()).await;
        assert_eq!((answer.unwrap(), cancelled.get()), (None, 2));
    }
}
