//! How often each user may ask. Each has a budget, a token bucket: so many requests at once, and so many more with every
//! second. One who has used it up is refused without any effect on others.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use crate::lock::lock;

/// How many users are remembered. When there are more, those with a full budget are forgotten.
const USERS: usize = 64;

/// How often a user may ask.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests at once, 1 or more.
    pub burst: f64,
    /// Further requests with every second.
    pub per_second: f64,
}

/// What is left of each user's budget.
#[derive(Debug)]
pub struct Budgets {
    rate: Rate,
    users: Mutex<BTreeMap<u32, Budget>>,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    left: f64,
    at: Instant,
}

impl Budgets {
    /// A full budget for everybody.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            users: Mutex::default(),
        }
    }

    /// Whether `user` may ask once more, which is then taken off the budget. A user is refused as well when too many
    /// others are using up theirs.
    pub fn spend(&self, user: u32) -> bool {
        let now = Instant::now();
        let mut users = lock(&self.users);
        let is_new = |users: &BTreeMap<_, _>| users.len() >= USERS && !users.contains_key(&user);
        if is_new(&users) {
            users.retain(|_, budget| self.rate.left(*budget, now) < self.rate.burst);
        }
        let left = users
            .get(&user)
            .map_or(self.rate.burst, |budget| self.rate.left(*budget, now));
        if left < 1.0 || is_new(&users) {
            return false;
        }
        let left = left - 1.0;
        users.insert(user, Budget { left, at: now });
        true
    }
}

impl Rate {
    fn left(self, budget: Budget, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(budget.at).as_secs_f64();
        (budget.left + seconds * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate {
        burst: 20.0,
        per_second: 4.0,
    };

    #[test]
    fn a_user_who_asks_without_end_is_slowed_down_and_others_are_not() {
        let budgets = Budgets::new(RATE);
        let allowed = (0..100).filter(|_| budgets.spend(1000)).count();
        assert!((20..30).contains(&allowed), "{allowed}");
        assert!(budgets.spend(1001));
    }

    #[test]
    fn budgets_come_back_and_are_bounded() {
        let now = Instant::now();
        let spent = Budget { left: 0.0, at: now };
        let left = |time| RATE.left(spent, now + time);
        assert!((left(Duration::from_secs(1)) - RATE.per_second).abs() < 0.01);
        assert!((left(Duration::from_hours(1)) - RATE.burst).abs() < 0.01);
        let budgets = Budgets::new(RATE);
        for user in 1..1000 {
            budgets.spend(user);
        }
        assert!(budgets.users.lock().unwrap().len() <= USERS);
    }
}
