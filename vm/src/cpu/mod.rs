//! On which CPU each vCPU runs: what each wants ([`Known`]), which plan makes the CPUs evenly used with few pins ([`plan`]), how
//! much of it is done at once, and whether it did any good ([`CpuState`]).
//!
//! What is wanted is the time that a vCPU ran and the time that it waited: use alone does not show who is short of CPUs.

mod fewest_pins;
mod known;
mod limits;
mod local_search;
mod longest_first;
mod measure;
mod nodes;
mod placement;
mod plan;
mod problem;
mod standing;
mod state;
mod step;
mod verify;

pub use known::Known;
pub use longest_first::longest_first;
pub use placement::Placement;
pub use plan::{Plan, plan};
pub use problem::{Item, Problem, Slot};
pub use standing::Standing;
pub use state::CpuState;
pub use step::Window;
