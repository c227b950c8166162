//! Whether a caller on D-Bus may change something: root and the service's own user may, everybody
//! else if polkit says so. No answer is a no.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use zbus::message::{Flags, Header};
use zbus::names::BusName;
use zbus::{Connection, fdo};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

/// The action of systemd/org.autoext.AutoExt1.policy.
const ACTION: &str = "org.autoext.AutoExt1.manage";
/// How long polkit may take to answer by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a person may take to answer polkit's question.
const PERSON_WITHIN: Duration = Duration::from_secs(120);
/// How many questions may be open, of all users and of one.
const OPEN_QUESTIONS: usize = 8;
const OF_ONE_USER: usize = 2;
/// How many calls a user may make at once, and how many more with every second.
const BURST: f64 = 20.0;
const PER_SECOND: f64 = 4.0;
/// How many users are remembered.
const USERS: usize = 64;

/// Keeps what is needed to tell.
#[derive(Debug)]
pub(super) struct Authorization {
    /// The users for whom questions are open.
    questions: Mutex<Vec<u32>>,
    budgets: Mutex<BTreeMap<u32, Budget>>,
}

/// The calls that a user may still make.
#[derive(Clone, Copy, Debug)]
struct Budget {
    calls: f64,
    at: Instant,
}

impl Authorization {
    pub(super) fn new() -> Self {
        Self {
            questions: Mutex::default(),
            budgets: Mutex::default(),
        }
    }

    /// Whether the caller may ask for something that only takes our time.
    pub(super) async fn read(&self, bus: &Connection, header: &Header<'_>) -> fdo::Result<()> {
        self.spend(user(bus, header).await?)
    }

    /// Whether the caller may change something.
    pub(super) async fn manage(&self, bus: &Connection, header: &Header<'_>) -> fdo::Result<()> {
        let user = user(bus, header).await?;
        if user == 0 || user == nix::unistd::geteuid().as_raw() {
            return Ok(());
        }
        self.spend(user)?;
        let Some(_question) = self.open_question(user) else {
            let message = "too many callers wait for an authorization";
            return Err(fdo::Error::LimitsExceeded(message.to_owned()));
        };
        let interactive = header
            .primary()
            .flags()
            .contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let denied = match ask_polkit(bus, header, interactive).await {
            Ok(None) => return Ok(()),
            Ok(Some(why)) => why.to_owned(),
            Err(error) => format!("polkit cannot be asked: {error}"),
        };
        tracing::info!(user, "user {user} is not permitted: {denied}");
        Err(fdo::Error::AccessDenied(format!(
            "not permitted ({ACTION}): {denied}"
        )))
    }

    /// Opens a question, until what is returned is dropped.
    fn open_question(&self, user: u32) -> Option<Question<'_>> {
        // A list of numbers is whole after every step, whoever panicked.
        let mut open = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let theirs = open.iter().filter(|of| **of == user).count();
        if open.len() >= OPEN_QUESTIONS || theirs >= OF_ONE_USER {
            return None;
        }
        open.push(user);
        Some(Question { of: self, user })
    }

    fn spend(&self, user: u32) -> fdo::Result<()> {
        if user == 0 {
            return Ok(());
        }
        let now = Instant::now();
        // Budgets are numbers; they are whole whoever panicked.
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() >= USERS && !budgets.contains_key(&user) {
            budgets.retain(|_, budget| budget.after(now) < BURST);
        }
        let known = budgets.get(&user).map_or(BURST, |budget| budget.after(now));
        if known < 1.0 || (budgets.len() >= USERS && !budgets.contains_key(&user)) {
            let message = "too many calls, try again in a second";
            return Err(fdo::Error::LimitsExceeded(message.to_owned()));
        }
        let calls = known - 1.0;
        budgets.insert(user, Budget { calls, at: now });
        Ok(())
    }
}

/// A question that is open.
struct Question<'a> {
    of: &'a Authorization,
    user: u32,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let questions = self.of.questions.lock();
        let mut open = questions.unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|user| *user == self.user) {
            open.swap_remove(at);
        }
    }
}

impl Budget {
    fn after(&self, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        (self.calls + seconds * PER_SECOND).min(BURST)
    }
}

/// The user who calls, as the bus vouches for.
async fn user(bus: &Connection, header: &Header<'_>) -> fdo::Result<u32> {
    let Some(sender) = header.sender() else {
        return Err(fdo::Error::AccessDenied("who calls?".to_owned()));
    };
    fdo::DBusProxy::new(bus)
        .await?
        .get_connection_unix_user(BusName::Unique(sender.to_owned()))
        .await
}

/// Why the caller may not; `None` when it may.
async fn ask_polkit(
    bus: &Connection,
    header: &Header<'_>,
    interactive: bool,
) -> zbus::Result<Option<&'static str>> {
    let subject = Subject::new_for_message_header(header)
        .map_err(|error| zbus::Error::Failure(error.to_string()))?;
    let (flags, within) = if interactive {
        (
            CheckAuthorizationFlags::ALLOW_USER_INTERACTION,
            PERSON_WITHIN,
        )
    } else {
        (CheckAuthorizationFlags::default(), ANSWER_WITHIN)
    };
    let details = HashMap::new();
    let authority = AuthorityProxy::new(bus).await?;
    let asked = authority.check_authorization(&subject, ACTION, &details, flags, "");
    match timeout(within, asked).await {
        Ok(Ok(result)) if result.is_authorized => Ok(None),
        Ok(Ok(result)) if result.is_challenge => Ok(Some("needs the password of an administrator")),
        Ok(Ok(_)) => Ok(Some("polkit says no")),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(Some("nobody answered in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_calls_without_end_is_slowed_down_and_others_are_not() {
        let authorization = Authorization::new();
        let allowed = (0..100)
            .filter(|_| authorization.spend(1000).is_ok())
            .count();
        assert!((20..30).contains(&allowed), "{allowed}");
        assert!(authorization.spend(1001).is_ok());
        assert!((0..100).all(|_| authorization.spend(0).is_ok()));
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

    #[test]
    fn budgets_come_back_and_are_bounded() {
        let now = Instant::now();
        let budget = Budget {
            calls: 0.0,
            at: now,
        };
        assert!((budget.after(now + Duration::from_secs(1)) - PER_SECOND).abs() < 0.01);
        assert!((budget.after(now + Duration::from_hours(1)) - BURST).abs() < 0.01);
        let authorization = Authorization::new();
        for user in 1..1000 {
            let _ = authorization.spend(user);
        }
        assert!(authorization.budgets.lock().unwrap().len() <= USERS);
    }
}
