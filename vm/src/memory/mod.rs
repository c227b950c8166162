//! How much memory each guest has: what it has to spare ([`Known`]), what the host can promise ([`budget`]), and who gets or gives
//! how much ([`MemoryState`]).
//!
//! A guest is never made smaller by numbers that are old, and never below what it uses and some more.

mod budget;
mod known;
mod state;
mod step;
mod unmanaged;

pub use budget::budget;
pub use known::Known;
pub use state::{MemoryState, Standing};
pub use step::Window;
pub use unmanaged::Unmanaged;
