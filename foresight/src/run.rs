//! Runs the scheduler: loads its BPF programs, learns from what they report and answers questions until somebody asks it to
//! leave or the kernel puts it out, and loads them again where that is what the kernel wants, as when a CPU came or went.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use foresight_model::line::Write;
use foresight_model::samples;
use libbpf_rs::{Link, OpenObject, PrintLevel, RingBuffer, RingBufferBuilder};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use scx_utils::{UserExitInfo, scx_ops_attach, scx_ops_load, scx_ops_open, uei_exited, uei_report};

use crate::answer::{Counted, Stats, Why};
use crate::bpf::{BpfSkel, BpfSkelBuilder};
use crate::collect::Recorder;
use crate::considered::Considered;
use crate::learning::Learning;
use crate::llcs::Llcs;
use crate::memory::{Memory, origin};
use crate::moves::MoveLearning;
use crate::options::{Collect, Mode, Moves, Run};
use crate::sample::Sample;
use crate::shared::{self, Acting};
use crate::signals::{Request, Requests};
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
    let llcs = llcs(&options.moves)?;
    let place = options.model.clone();
    let place = place.unwrap_or_else(|| usual_directory().join("model.json"));
    let memory = Memory::read(place, origin(llcs.of_cpus.len(), llcs.count), say);
    run_with(options, memory, None)
}

fn llcs(options: &Moves) -> Result<Llcs> {
    Llcs::read(options.virt_llc.map(usize::from))
}

/// Runs as a shadow that remembers nothing, and writes bursts and moves to a file.
///
/// # Errors
/// As [`run`], and when the file cannot be written or the command not be run.
pub(crate) fn collect(options: &Collect) -> Result<()> {
    let llcs = llcs(&options.moves)?;
    let origin = origin(llcs.of_cpus.len(), llcs.count);
    let mut recorder = Recorder::create(options, origin.clone())?;
    let run = Run {
        mode: Mode::Shadow,
        moves: options.moves.clone(),
        ..Run::default()
    };
    run_with(&run, Memory::none(origin), Some(&mut recorder))?;
    let written = recorder.finish()?;
    let place = options.out.display();
    say(format!(
        "{written} bursts and moves in {place}, which names programs"
    ));
    Ok(())
}

fn run_with(options: &Run, mut memory: Memory, mut recorder: Option<&mut Recorder>) -> Result<()> {
    libbpf_rs::set_print(Some((PrintLevel::Warn, complain)));
    let mut server = serve(options)?;
    loop {
        let mut object = MaybeUninit::uninit();
        let mut scheduler = Scheduler::load(options, &memory, &mut object)?;
        let exit = scheduler.watch(&memory, server.as_mut(), recorder.as_deref_mut())?;
        if let Some(learning) = &scheduler.learning
            && let Err(error) = memory.keep(learning.programs(), scheduler.network())
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
    moves: Option<MoveLearning>,
    mode: Mode,
    refit: Duration,
    explore: f64,
}

/// What the BPF programs have reported.
#[derive(Default)]
struct Seen {
    bursts: Vec<Sample>,
    moves: Vec<Considered>,
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
        let explore = options.moves.explore;
        let moves = MoveLearning::new(options.mode, memory.moves(), explore > 0.0);
        let llcs = llcs(&options.moves)?;
        let constants = skel.maps.rodata_data.as_deref_mut();
        let constants = constants.context("the BPF object has no constants")?;
        for (cpu, llc) in llcs.of_cpus {
            constants.cpu_llc[cpu] = llc;
            constants.llc_cpus[llc as usize] += 1;
        }
        for (place, node) in constants.llc_node.iter_mut().zip(llcs.nodes) {
            *place = node;
        }
        constants.nr_llcs = llcs.count;
        constants.slice_max_ns = u64::try_from(options.slice_max.as_nanos())?;
        constants.learning = learning.is_some();
        constants.explore = chance(explore);
        let mut skel = scx_ops_load!(skel, foresight_ops, uei)?;
        // Whoever sees that it is there may ask it to leave.
        let requests = Requests::take()?;
        let link = Some(scx_ops_attach!(skel, foresight_ops)?);
        Ok(Self {
            skel,
            link,
            requests,
            learning,
            moves,
            mode: options.mode,
            refit: options.refit,
            explore,
        })
    }

    /// Learns, writes bursts down and answers until it is asked to leave or all is written, or until the kernel has put it out,
    /// and says of that.
    fn watch(
        &mut self,
        memory: &Memory,
        mut server: Option<&mut Server>,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<Option<UserExitInfo>> {
        let seen = Rc::default();
        let rings = self.rings(&seen)?;
        let mut refitted = Instant::now();
        if let Some(recorder) = &mut recorder {
            recorder.start()?;
        }
        while !uei_exited!(&self.skel, uei) {
            self.wait(server.as_deref())?;
            rings
                .consume()
                .context("cannot read what BPF programs report")?;
            let seen = seen.take();
            let request = self.requests.next()?;
            let mut is_over = request == Some(Request::Leave);
            if request == Some(Request::ReadNetwork) {
                self.read_network(memory);
            }
            if let Some(recorder) = &mut recorder {
                seen.record(recorder)?;
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

    /// Learns from bursts and moves; once it is time, returns what of the lines changes.
    fn learn(&mut self, seen: Seen, refitted: &mut Instant) -> Vec<Write> {
        if let Some(moves) = &mut self.moves {
            seen.moves.into_iter().for_each(|seen| moves.take(seen));
            moves.work(Instant::now());
        }
        let Some(learning) = &mut self.learning else {
            return Vec::new();
        };
        seen.bursts
            .into_iter()
            .for_each(|sample| learning.take(sample));
        if refitted.elapsed() < self.refit {
            return Vec::new();
        }
        *refitted = Instant::now();
        learning.refit()
    }

    fn read_network(&mut self, memory: &Memory) {
        match (&mut self.moves, memory.read_network(say)) {
            (Some(moves), Some((network, is_trusted))) => {
                moves.replace(network, is_trusted);
                say("it goes on with the network of the model file".to_owned());
            }
            _ => {
                say(
                    "there is no network in the model file, or none counts in this mode".to_owned(),
                );
            }
        }
    }

    /// The network for the next time.
    fn network(&self) -> Option<foresight_model::file::Moves> {
        self.moves.as_ref().and_then(MoveLearning::to_keep)
    }

    /// What reads bursts and moves into `seen`.
    fn rings(&self, seen: &Rc<RefCell<Seen>>) -> Result<RingBuffer<'static>> {
        let mut builder = RingBufferBuilder::new();
        let bursts = Rc::clone(seen);
        builder.add(&self.skel.maps.samples, move |bytes| {
            bursts.borrow_mut().bursts.extend(Sample::read(bytes));
            0
        })?;
        let (moves, explore) = (Rc::clone(seen), self.explore);
        builder.add(&self.skel.maps.decisions, move |bytes| {
            let considered = Considered::read(bytes, explore);
            moves.borrow_mut().moves.extend(considered);
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

    /// Hands over what of the lines changes, a network if there is another, and that we are alive.
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
        if let Some(moves) = &mut self.moves
            && let Some((network, version)) = moves.publish()
        {
            let networks = maps.data_networks_data.as_deref_mut();
            let networks = networks.context("the BPF object has no networks")?;
            let live = &mut bss.live_network;
            shared::write_network(&mut networks.networks, live, network, version);
        }
        let acting = Acting {
            lines: learning.acting(),
            moves: self.moves.as_ref().is_some_and(MoveLearning::acting),
        };
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        shared::beat(bss, u64::try_from(now.as_nanos())?, acting);
        Ok(())
    }

    fn answer(&self, question: Question) -> String {
        let learning = self.learning.as_ref();
        let json = match question {
            Question::Stats => {
                let bss = self.skel.maps.bss_data.as_deref();
                let counted = bss.map_or_else(Counted::default, |bss| Counted::sum(&bss.counters));
                let moves = self.moves.as_ref();
                serde_json::to_string(&Stats::of(self.mode, counted, learning, moves))
            }
            Question::Why(pid) => serde_json::to_string(&Why::of(pid, learning)),
        };
        // Nothing is what a caller takes for no answer.
        json.unwrap_or_default()
    }
}

impl Seen {
    fn record(&self, recorder: &mut Recorder) -> io::Result<()> {
        for burst in &self.bursts {
            recorder.add(&samples::Sample::Burst(burst.to_burst()))?;
        }
        for considered in &self.moves {
            recorder.add(&samples::Sample::Move(considered.sample.clone()))?;
        }
        Ok(())
    }
}

/// A share as the BPF programs have it: of 2^32.
fn chance(share: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and a half"
    )]
    let chance = (share * 2_f64.powi(32)) as u32;
    chance
}
