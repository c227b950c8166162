//! What others can ask of the daemon, and how.

pub(crate) mod dbus;
pub(crate) mod request;
pub(crate) mod status;
pub(crate) mod trials;
