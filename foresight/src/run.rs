//! Runs the scheduler: loads its BPF programs, learns from what they report and answers questions until somebody asks it to
//! leave or the kernel puts it out, and loads them again where that is what the kernel wants, as when a CPU came or went.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use foresight_model::line::Write;
use libbpf_rs::{Link, OpenObject, PrintLevel, RingBuffer, RingBufferBuilder};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use scx_utils::{UserExitInfo, scx_ops_attach, scx_ops_load, scx_ops_open, uei_exited, uei_report};

use crate::answer::{Counted, Stats, Why};
use crate::bpf::{BpfSkel, BpfSkelBuilder};
use crate::collect::Recorder;
use crate::learning::Learning;
use crate::llcs::Llcs;
use crate::memory::{Memory, origin};
use crate::options::{Collect, Mode, Run};
use crate::sample::Sample;
use crate::shared;
use crate::signals::Requests;
use crate::socket::{Question, Server, usual_directory, usual_place};

/// How often it is asked whether the kernel has put the scheduler out, of which nothing tells.
const LOOK: Duration = Duration::from_millis(250);
/// How often what the BPF programs report is read, which wakes nobody: there is room for more than ten times as much.
const READ: Duration = Duration::from_millis(40);

/// Runs until somebody asks it to leave.
///
/// # Errors
/// When it cannot be loaded, or the kernel puts it out for good.
pub(crate) fn run(options: &Run) -> Result<()> {
    let llcs = Llcs::read(options.virt_llc.map(usize::from))?;
    let place = options.model.clone();
    let place = place.unwrap_or_else(|| usual_directory().join("model.json"));
    let memory = Memory::read(place, origin(llcs.of_cpus.len(), llcs.count), say);
    run_with(options, memory, None)
}

/// Runs as a shadow that remembers nothing, and writes bursts to a file.
///
/// # Errors
/// As [`run`], and when the file cannot be written or the command not be run.
pub(crate) fn collect(options: &Collect) -> Result<()> {
    let llcs = Llcs::read(None)?;
    let origin = origin(llcs.of_cpus.len(), llcs.count);
    let mut recorder = Recorder::create(options, origin.clone())?;
    let run = Run {
        mode: Mode::Shadow,
        ..Run::default()
    };
    run_with(&run, Memory::none(origin), Some(&mut recorder))?;
    let written = recorder.finish()?;
    let place = options.out.display();
    say(format!("{written} bursts in {place}, which names programs"));
    Ok(())
}

fn run_with(options: &Run, mut memory: Memory, mut recorder: Option<&mut Recorder>) -> Result<()> {
    libbpf_rs::set_print(Some((PrintLevel::Warn, complain)));
    let mut server = serve(options)?;
    loop {
        let mut object = MaybeUninit::uninit();
        let mut scheduler = Scheduler::load(options, &memory, &mut object)?;
        let exit = scheduler.watch(server.as_mut(), recorder.as_deref_mut())?;
        if let Some(learning) = &scheduler.learning
            && let Err(error) = memory.keep(learning.programs())
        {
            say(format!("{error:#}"));
        }
        let Some(exit) = exit else {
            return Ok(());
        };
        if !exit.should_restart() {
            bail!("the kernel ended it");
        }
        say("loading again".to_owned());
    }
}

/// The socket for questions. Where it cannot be and nobody said where, there is none: a scheduler has better things to do.
fn serve(options: &Run) -> Result<Option<Server>> {
    match &options.socket.socket {
        Some(place) => Server::listen(place).map(Some),
        None => Ok(Server::listen(&usual_place()).ok()),
    }
}

/// What libbpf says: warnings, of which there is one that means nothing. What it says of a lesser level is about what older
/// kernels do not have.
fn complain(_: PrintLevel, message: String) {
    // scx_ops_attach! attaches all but the scheduler first, and then the scheduler by itself.
    if !message.contains("skeleton link is uninitialized") {
        say(message);
    }
}

#[expect(
    clippy::print_stderr,
    reason = "that is where a scheduler says what is wrong"
)]
#[expect(clippy::needless_pass_by_value, reason = "as it is handed on")]
fn say(message: String) {
    eprintln!("{}", message.trim_end());
}

/// The loaded and attached scheduler; the kernel's own runs again once it is dropped.
struct Scheduler<'o> {
    skel: BpfSkel<'o>,
    link: Option<Link>,
    requests: Requests,
    learning: Option<Learning>,
    mode: Mode,
    refit: Duration,
}

impl<'o> Scheduler<'o> {
    fn load(
        options: &Run,
        memory: &Memory,
        object: &'o mut MaybeUninit<OpenObject>,
    ) -> Result<Self> {
        let builder = BpfSkelBuilder::default();
        let open_options = None::<libbpf_rs::libbpf_sys::bpf_object_open_opts>;
        let mut skel = scx_ops_open!(builder, object, foresight_ops, open_options)?;
        let (programs, takes_priors) = memory.programs();
        let learning = Learning::new(options.mode, programs, takes_priors);
        let llcs = Llcs::read(options.virt_llc.map(usize::from))?;
        let constants = skel.maps.rodata_data.as_deref_mut();
        let constants = constants.context("the BPF object has no constants")?;
        for (cpu, llc) in llcs.of_cpus {
            constants.cpu_llc[cpu] = llc;
        }
        constants.nr_llcs = llcs.count;
        constants.slice_max_ns = u64::try_from(options.slice_max.as_nanos())?;
        constants.learning = learning.is_some();
        let mut skel = scx_ops_load!(skel, foresight_ops, uei)?;
        // Whoever sees that it is there may ask it to leave.
        let requests = Requests::take()?;
        let link = Some(scx_ops_attach!(skel, foresight_ops)?);
        Ok(Self {
            skel,
            link,
            requests,
            learning,
            mode: options.mode,
            refit: options.refit,
        })
    }

    /// Learns, writes bursts down and answers until it is asked to leave or all is written, or until the kernel has put it out,
    /// and says of that.
    fn watch(
        &mut self,
        mut server: Option<&mut Server>,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<Option<UserExitInfo>> {
        let seen = Rc::default();
        let ring = self.ring(&seen)?;
        let mut refitted = Instant::now();
        if let Some(recorder) = &mut recorder {
            recorder.start()?;
        }
        while !uei_exited!(&self.skel, uei) {
            self.wait(server.as_deref())?;
            ring.consume()
                .context("cannot read what BPF programs report")?;
            let seen = seen.take();
            let mut is_over = self.requests.has_come()?;
            if let Some(recorder) = &mut recorder {
                seen.iter().try_for_each(|sample| recorder.add(sample))?;
                is_over |= recorder.is_over()?;
            }
            if is_over {
                drop(self.link.take());
                uei_report!(&self.skel, uei)?;
                return Ok(None);
            }
            let writes = self.learn(seen, &mut refitted);
            self.publish(&writes)?;
            if let Some(server) = &mut server {
                server.serve(|question| self.answer(question));
            }
        }
        drop(self.link.take());
        uei_report!(&self.skel, uei).map(Some)
    }

    /// Learns from bursts; once it is time, returns what of the lines changes.
    fn learn(&mut self, seen: Vec<Sample>, refitted: &mut Instant) -> Vec<Write> {
        let Some(learning) = &mut self.learning else {
            return Vec::new();
        };
        seen.into_iter().for_each(|sample| learning.take(sample));
        if refitted.elapsed() < self.refit {
            return Vec::new();
        }
        *refitted = Instant::now();
        learning.refit()
    }

    /// What reads bursts into `seen`.
    fn ring(&self, seen: &Rc<RefCell<Vec<Sample>>>) -> Result<RingBuffer<'static>> {
        let seen = Rc::clone(seen);
        let mut builder = RingBufferBuilder::new();
        builder.add(&self.skel.maps.samples, move |bytes| {
            seen.borrow_mut().extend(Sample::read(bytes));
            0
        })?;
        Ok(builder.build()?)
    }

    /// Until something happens, or it is time to look.
    fn wait(&self, server: Option<&Server>) -> Result<()> {
        let time = if self.learning.is_some() { READ } else { LOOK };
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(self.requests.as_fd())];
        fds.extend(server.map(|server| readable(server.as_fd())));
        match poll(&mut fds, PollTimeout::try_from(time)?) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait"),
        }
    }

    /// Hands over what of the lines changes, and that we are alive.
    fn publish(&mut self, writes: &[Write]) -> Result<()> {
        let Some(learning) = &self.learning else {
            return Ok(());
        };
        let maps = &mut self.skel.maps;
        let slots = maps.data_slots_data.as_deref_mut();
        let slots = slots.context("the BPF object has no slots")?;
        for write in writes {
            shared::write(&mut slots.slots, write);
        }
        let bss = maps.bss_data.as_deref_mut();
        let bss = bss.context("the BPF object has no variables")?;
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        shared::beat(bss, u64::try_from(now.as_nanos())?, learning.acting());
        Ok(())
    }

    fn answer(&self, question: Question) -> String {
        let learning = self.learning.as_ref();
        let json = match question {
            Question::Stats => {
                let bss = self.skel.maps.bss_data.as_deref();
                let counted = bss.map_or_else(Counted::default, |bss| Counted::sum(&bss.counters));
                serde_json::to_string(&Stats::of(self.mode, counted, learning))
            }
            Question::Why(pid) => serde_json::to_string(&Why::of(pid, learning)),
        };
        // Nothing is what a caller takes for no answer.
        json.unwrap_or_default()
    }
}
