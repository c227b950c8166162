//! How many connections there may be, and how often each user may ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use auto_ext_service::budget::{Budgets, Rate};
use auto_ext_service::lock::lock;

/// How many connections there may be.
const CONNECTIONS: usize = 32;
/// How many of them one user may have.
pub(super) const OF_ONE_USER: usize = 8;
/// How often a user may ask: a scrape every 15 s is usual.
const QUESTIONS: Rate = Rate {
    burst: 20.0,
    per_second: 5.0,
};

/// Who asks, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// A user, by a Unix socket.
    User(u32),
    /// Any program on this machine, by the loopback interface.
    Anybody,
}

/// The connections that there are, and how often each may still ask.
#[derive(Clone)]
pub(super) struct Limits {
    /// How many connections each has.
    connections: Arc<Mutex<BTreeMap<Client, usize>>>,
    users: Arc<Budgets>,
    anybody: Arc<Budgets>,
}

/// One of the connections, until this is dropped.
pub(super) struct ConnectionPermit {
    limits: Limits,
    client: Client,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self {
            connections: Arc::default(),
            users: Arc::new(Budgets::new(QUESTIONS)),
            anybody: Arc::new(Budgets::new(QUESTIONS)),
        }
    }

    /// One more connection of `client`; `None` when there are too many.
    pub(super) fn connect(&self, client: Client) -> Option<ConnectionPermit> {
        let mut connections = lock(&self.connections);
        let all: usize = connections.values().sum();
        let theirs = connections.get(&client).copied().unwrap_or_default();
        if all >= CONNECTIONS || theirs >= OF_ONE_USER {
            return None;
        }
        connections.insert(client, theirs + 1);
        let limits = self.clone();
        Some(ConnectionPermit { limits, client })
    }

    /// Whether `client` may ask once more, which then counts.
    pub(super) fn may_ask(&self, client: Client) -> bool {
        match client {
            Client::User(0) => true,
            Client::User(user) => self.users.spend(user),
            Client::Anybody => self.anybody.spend(0),
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections = lock(&self.limits.connections);
        if let Some(theirs) = connections.get_mut(&self.client) {
            *theirs -= 1;
            if *theirs == 0 {
                connections.remove(&self.client);
            }
        }
    }
}
