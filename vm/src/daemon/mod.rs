//! The service: it looks at a host once in a window, has what is decided done, and answers who asks.
//!
//! [`work`] is the service without its threads, with `answers` to who asks it, tested with a host that is made up: `guarded` keeps it from vCPUs that another service
//! has, and `surroundings` says who else is at work. `orders` is what persons said, `history` what was done, both over
//! restarts; `status` and `metrics` what is shown, with the `names` of guests. `run` has the threads, the signals and systemd, and `bus` who asks by D-Bus.

mod answers;
pub mod bus;
mod guarded;
mod history;
mod metrics;
mod names;
mod orders;
pub mod request;
pub mod run;
pub mod status;
mod surroundings;
#[cfg(test)]
mod tests;
pub mod work;

pub use history::Entry;
pub use surroundings::Surroundings;
