//! The commands but for the daemon, one file each.

pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod levels;
pub(crate) mod status;
