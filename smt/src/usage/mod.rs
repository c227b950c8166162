//! What groups make of CPUs by what the kernel adds up anyway: how long their threads wait for one ([`Waits`]), on which they run
//! and how busy each is ([`Occupancy`]), and for how long some of a cgroup waits ([`pressure()`]). Judges nothing.

mod occupancy;
mod pressure;
mod waits;

pub(crate) use occupancy::{Occupancy, Occupied};
pub(crate) use pressure::pressure;
pub(crate) use waits::Waits;
