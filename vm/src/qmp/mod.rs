//! A host whose guests are QEMUs that nobody manages: each is asked over its own QMP socket, and its vCPUs are pinned as the threads
//! that they are. Owns the few commands that are needed.

mod connection;
mod guest;
mod host;
pub(crate) mod line;
mod sockets;

#[cfg(test)]
mod tests;

pub use host::Qmp;
