//! A host whose guests libvirt runs, asked over its daemon's socket. Owns the little of its protocol that is needed: the library
//! itself would be linked to, and waits for whoever hangs.

mod connection;
pub(crate) mod definition;
mod guest;
mod host;
mod lifecycle;
pub(crate) mod message;
pub(crate) mod procedures;
pub(crate) mod xdr;

#[cfg(test)]
mod tests;

pub use host::{Libvirt, socket};
