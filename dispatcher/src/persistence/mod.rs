//! What outlives the daemon, each in a file of its own.

pub(crate) mod boot_guard;
pub(crate) mod failure_store;
pub(crate) mod history;
pub(crate) mod loader_clients;
pub(crate) mod trial_store;
