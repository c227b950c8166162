//! The BPF programs: BTF tracepoints that add to per-CPU counters, one file per resource, and those
//! that report which processes began, changed or ended (`process`).
//!
//! They only measure. What it means is decided in user space, which also fills in the
//! offsets of the running kernel's structures before loading (see `kernel`).

#![no_std]
#![no_main]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the tracepoint macro hands the context over by value"
)]
#![allow(
    missing_docs,
    reason = "the tracepoint and map macros generate undocumented items"
)]

mod block;
mod kernel;
mod log;
mod object;
mod process;
mod reclaim;
mod sched;
mod softirq;
mod starts;
mod timers;
mod waiting;
