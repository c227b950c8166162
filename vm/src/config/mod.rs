//! What is configured: as the decisions have it ([`Config`]), and as the owner of a host writes it ([`Settings`]) in a file
//! ([`parse`]).

mod file;
mod json_schema;
mod settings;
mod values;

pub use file::{Checked, MAX_BYTES, PATH, parse};
pub use json_schema::json_schema;
pub use settings::{
    CpuMode, CpuSettings, Foreign, MemoryMode, MemorySettings, PinBy, Settings, Switch, UnderScx,
};
pub use values::{Config, CpuConfig, GuestConfig, MemoryConfig, Mode, Reclaim};
