//! The commands other than `daemon`, one file each. `client` connects them to the daemon, `style` has their colours,
//! `service_unit` what the service can reach; `theme` and `timeline` draw for `history` and `watch`; `trial_line`
//! says a trial for `status` and `watch`, `labelled` is for `label` and `report_class`, `grant` and `child` for `hold`, `run`, `compare` and `gamemode`, and `new_file` for all that write files.

pub(crate) mod check;
mod child;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod doctor;
pub(crate) mod gamemode;
pub(crate) mod grant;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod import;
pub(crate) mod label;
mod labelled;
pub(crate) mod learn;
pub(crate) mod levels;
pub(crate) mod metrics;
pub(crate) mod new_file;
pub(crate) mod notify;
pub(crate) mod pin;
pub(crate) mod record;
pub(crate) mod reload;
pub(crate) mod replay;
pub(crate) mod report_class;
pub(crate) mod run;
pub(crate) mod schedulers;
mod service_unit;
pub(crate) mod status;
pub(crate) mod style;
mod theme;
mod timeline;
mod trial_line;
pub(crate) mod trials;
mod trials_files;
pub(crate) mod watch;
pub(crate) mod why;
