//! What a service is on D-Bus, whatever it offers there: how it gets its name ([`join`]), who may call it and how often
//! ([`authorization`], [`properties`]), who calls ([`callers`]), how a command asks it ([`client`]), and that a bus comes and goes ([`line`](mod@line)).
//!
//! It is apart from `service`, which also what decides is built on, without asking anybody.

pub mod authorization;
pub mod callers;
pub mod client;
pub mod join;
pub mod line;
pub mod properties;
