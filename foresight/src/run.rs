//! Runs the scheduler: loads its BPF programs, watches until somebody asks it to leave or the kernel puts it out, and loads
//! them again where that is what the kernel wants, as when a CPU came or went.

use std::mem::MaybeUninit;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use libbpf_rs::{Link, OpenObject, PrintLevel};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use scx_utils::{UserExitInfo, scx_ops_attach, scx_ops_load, scx_ops_open, uei_exited, uei_report};

use crate::bpf::{BpfSkel, BpfSkelBuilder};
use crate::llcs::Llcs;
use crate::options::Run;
use crate::signals::Requests;

/// How often it is asked whether the kernel has put the scheduler out, of which nothing tells.
const LOOK: Duration = Duration::from_millis(250);

/// Runs until somebody asks it to leave.
///
/// # Errors
/// When it cannot be loaded, or the kernel puts it out for good.
pub(crate) fn run(options: &Run) -> Result<()> {
    libbpf_rs::set_print(Some((PrintLevel::Warn, complain)));
    loop {
        let mut object = MaybeUninit::uninit();
        let mut scheduler = Scheduler::load(options, &mut object)?;
        let Some(exit) = scheduler.watch()? else {
            return Ok(());
        };
        if !exit.should_restart() {
            bail!("the kernel ended it");
        }
        complain(PrintLevel::Warn, "loading again\n".into());
    }
}

/// What libbpf says of a lesser level is about what older kernels do not have.
#[expect(
    clippy::print_stderr,
    reason = "that is where a scheduler says what is wrong"
)]
#[expect(clippy::needless_pass_by_value, reason = "as libbpf-rs has it")]
fn complain(_: PrintLevel, message: String) {
    eprint!("{message}");
}

/// The loaded and attached scheduler; the kernel's own runs again once it is dropped.
struct Scheduler<'o> {
    skel: BpfSkel<'o>,
    link: Option<Link>,
    requests: Requests,
}

impl<'o> Scheduler<'o> {
    fn load(options: &Run, object: &'o mut MaybeUninit<OpenObject>) -> Result<Self> {
        let builder = BpfSkelBuilder::default();
        let open_options = None::<libbpf_rs::libbpf_sys::bpf_object_open_opts>;
        let mut skel = scx_ops_open!(builder, object, foresight_ops, open_options)?;
        let llcs = Llcs::read(options.virt_llc.map(usize::from))?;
        let constants = skel.maps.rodata_data.as_deref_mut();
        let constants = constants.context("the BPF object has no constants")?;
        for (cpu, llc) in llcs.of_cpus {
            constants.cpu_llc[cpu] = llc;
        }
        constants.nr_llcs = llcs.count;
        constants.slice_max_ns = u64::try_from(options.slice_max.as_nanos())?;
        let mut skel = scx_ops_load!(skel, foresight_ops, uei)?;
        let link = Some(scx_ops_attach!(skel, foresight_ops)?);
        Ok(Self {
            skel,
            link,
            requests: Requests::take()?,
        })
    }

    /// Waits until it is asked to leave, or until the kernel has put it out, and says of that.
    fn watch(&mut self) -> Result<Option<UserExitInfo>> {
        let timeout = PollTimeout::try_from(LOOK)?;
        while !uei_exited!(&self.skel, uei) {
            let mut asked = [PollFd::new(self.requests.as_fd(), PollFlags::POLLIN)];
            match poll(&mut asked, timeout) {
                Ok(_) | Err(nix::Error::EINTR) => (),
                Err(error) => return Err(error).context("cannot wait"),
            }
            if self.requests.has_come()? {
                drop(self.link.take());
                uei_report!(&self.skel, uei)?;
                return Ok(None);
            }
        }
        drop(self.link.take());
        uei_report!(&self.skel, uei).map(Some)
    }
}
