//! The commands but for the daemon, one file each; `client` is their way to the daemon, `style` their
//! colours, `service_unit` what the service can reach.

pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod doctor;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod levels;
pub(crate) mod metrics;
pub(crate) mod pin;
pub(crate) mod record;
pub(crate) mod reload;
pub(crate) mod replay;
pub(crate) mod schedulers;
mod service_unit;
pub(crate) mod status;
pub(crate) mod style;
mod theme;
mod timeline;
pub(crate) mod watch;
pub(crate) mod why;
