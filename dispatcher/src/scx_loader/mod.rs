//! What org.scx.Loader means, the interface of scx_loader 1.1.3, by which scxctl, scx-manager, falcond and others ask for a
//! scheduler.
//!
//! `schedulers`, `mode` and `settings` are its vocabulary: names, modes with their arguments, and the file that says which. `clients` decides what
//! comes of a request, so that who puts back what ran before does not end the automatic choice. Pure but for reading that file;
//! the object on the bus is `api/dbus/scx_loader.rs`.

pub(crate) mod clients;
mod mode;
mod schedulers;
pub(crate) mod settings;

pub(crate) use mode::Mode;
pub(crate) use schedulers::{SUPPORTED, UNKNOWN, command, supported};
