//! Each case has exactly what is expected of it.

mod cpu;
mod memory;
mod planning;
mod properties;
