//! Runs sched_ext schedulers: asks the kernel what runs, starts and ends their processes, and swaps one for another
//! while it runs. For a program that decides which scheduler is to run; it decides nothing itself, and remembers
//! nothing that the kernel can be asked.
//!
//! # Modules
//!
//! - [`sysfs`]: what the kernel says of sched_ext now: which scheduler is enabled, and which enabling it is.
//! - [`uevent`]: waits until the kernel has something new to say.
//! - [`kmsg`]: why the kernel disabled a scheduler, from its log.
//! - [`process`]: a scheduler's process. Finds its program, starts it with limits, reads its output, ends it, and says
//!   why it ended; knows whether what the kernel runs is one of ours.
//! - [`attach_barrier`]: starts a process that is held when it is about to attach a scheduler.
//! - [`core_scheduling`]: whether core scheduling is in use, beside which no scheduler is to be loaded.
//! - [`switch`]: has the kernel run another scheduler; uses all of these in the right order.
//! - [`foreign`]: whose a scheduler is that we did not start, and asking it to leave.
//!
//! # How data flows
//!
//! [`SchedExt`](sysfs::SchedExt) says what runs. A [`Switch`](switch::Switch) takes the process that runs, if any, and
//! starts another [`SchedulerProcess`](process::SchedulerProcess) behind an
//! [`AttachBarrier`](attach_barrier::AttachBarrier). That holds the new scheduler when it is loaded and verified. Then
//! the old one is stopped, the new one attaches, and the [`Outcome`](switch::Outcome) has the process that runs now, as
//! the kernel confirmed. A failure before the old one is stopped leaves it running. From then on the caller waits for
//! [`SchedulerProcess::ended`](process::SchedulerProcess::ended) and [`Uevents::next`](uevent::Uevents::next), and
//! reads sysfs again after each.
//!
//! One [`ProcessRegistry`](process::registry::ProcessRegistry) tells our schedulers from others, and one
//! [`Cgroups`](process::cgroup::Cgroups) gives them their limits: make one of each, and use copies of it everywhere.
//!
//! All is asynchronous in a tokio runtime, and works in one with a single thread. Schedulers are killed when the
//! thread ends that started them, and when their [`SchedulerProcess`](process::SchedulerProcess) is dropped.
//!
//! # Privileges
//!
//! - [`sysfs`] and [`uevent`] need none.
//! - [`kmsg`] needs CAP_SYSLOG where `kernel.dmesg_restrict` is 1. Without it, nothing is known from the log.
//! - Schedulers run as the user and with the capabilities of the caller: root with CAP_BPF and CAP_PERFMON. Their
//!   programs must be such that only root can change them.
//! - [`process::cgroup`] needs a service's cgroup that systemd delegates (`Delegate=memory pids`). Without it, there are
//!   no limits.
//! - [`process::registry`] and [`foreign`] need CAP_SYS_PTRACE, to see which process holds a scheduler, and
//!   [`core_scheduling`] to see who uses it.
//! - [`attach_barrier`] needs seccomp's notifications and CAP_SYS_PTRACE. Without CAP_SYS_ADMIN, it sets `no_new_privs`
//!   for the scheduler. Where there can be no barrier, switches are cold: the old scheduler leaves before the new one
//!   is started.
//! - [`switch`] needs CAP_SYS_NICE for a short gap; and to be hot at all for schedulers that decide in user space.
//!
//! # Example
//!
//! Runs one scheduler, swaps it for another, and goes back to the kernel's own. `examples/swap.rs` does the same and
//! checks each step.
//!
//! ```no_run
//! use auto_ext_scx::process::cgroup::Cgroups;
//! use auto_ext_scx::process::registry::ProcessRegistry;
//! use auto_ext_scx::switch::{DISABLE_WITHIN, LOAD_WITHIN, Switch};
//! use auto_ext_scx::sysfs::SchedExt;
//! use auto_ext_scx::{Candidate, Scheduler};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (registry, cgroups) = (ProcessRegistry::default(), Cgroups::of(None));
//! let scheduler = |name: &str| {
//!     Candidate::Scheduler(Scheduler { name: name.into(), command: name.into(), args: vec![] })
//! };
//! let mut running = None;
//! for to in [scheduler("scx_bpfland"), scheduler("scx_cosmos"), Candidate::Kernel] {
//!     let switch = Switch {
//!         sched_ext: SchedExt::below("/sys".as_ref()),
//!         registry: registry.clone(),
//!         cgroups: cgroups.clone(),
//!         to,
//!         replace_foreign: false,
//!         load_within: LOAD_WITHIN,
//!         disable_within: DISABLE_WITHIN,
//!     };
//!     let (_cancel, cancelled) = tokio::sync::watch::channel(false);
//!     let outcome = switch.make(running, cancelled).await;
//!     match outcome.result {
//!         Ok(done) => println!("{} runs, after {} us without a scheduler", outcome.to, done.gap_us),
//!         Err(failure) => println!("{} does not run: {}", outcome.to, failure.error),
//!     }
//!     running = outcome.running;
//! }
//! # }
//! ```

pub mod attach_barrier;
pub mod core_scheduling;
pub mod foreign;
pub mod kmsg;
mod pidfd;
pub mod process;
mod realtime;
mod struct_ops;
pub mod switch;
pub mod sysfs;
pub mod uevent;

pub use auto_ext_core::{Cause, CoreScheduling, End, Fault, KernelState};
pub use auto_ext_policy::{Candidate, Scheduler};
