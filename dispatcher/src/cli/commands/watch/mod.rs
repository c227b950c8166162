//! `auto-ext watch`: what the kernel runs, what is measured, what the daemon decided and did about it, live in the
//! terminal.
//!
//! `model` is what is known. The sources `daemon`, `measure` and `cpus` report `news` for it. `view` makes a frame of it,
//! with `status`, `pages`, `bars`, `pen` and the `commands::theme`; `ui` says what keys do, `pace` how often frames are drawn,
//! `screen` owns the terminal. The loop is here.

mod bars;
mod cpus;
mod daemon;
mod measure;
mod model;
mod news;
mod pace;
mod pages;
mod pen;
mod screen;
mod series;
mod status;
#[cfg(test)]
mod tests;
mod ui;
mod view;

use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use auto_ext_policy::known;
use auto_ext_scx::process::executable;
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_service::clock::{cpu_time, now_us};
use auto_ext_service::file_access::Reader;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::cli::commands::theme::Theme;
use cpus::CpuReader;
use measure::Measurement;
use model::{Known, Measuring, Source};
use news::News;
use pace::Pace;
use screen::Screen;
use ui::{Command, Extent, Note, Ui};

/// How many news or inputs may wait to be handled.
const QUEUED: usize = 64;
const SECOND: Duration = Duration::from_secs(1);
/// How long a daemon that was there may be gone before the load is measured here, as it may only be restarted.
const RESTARTS_WITHIN: Duration = Duration::from_secs(5);
/// How soon a terminal that has not taken the last frame yet is tried again.
const RETRY_FRAME: Duration = Duration::from_millis(50);

/// Shows the view until a person or a signal ends it.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?;
    let (news, mut reported) = mpsc::channel(QUEUED);
    let mut screen = Screen::enter()?;
    let mut inputs = inputs().context("keys cannot be read")?;
    let mut watch = Watch::new(news.clone());
    tokio::spawn(daemon::follow(news, watch.pace.rest().clone()));
    let mut seconds = interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => break,
            input = inputs.recv() => match input {
                Some(Event::Key(key)) => match watch.key(key) {
                    Some(Command::Quit) => break,
                    Some(Command::Redraw) => screen.redraw()?,
                    Some(Command::Suspend) => screen.suspend()?,
                    Some(command) => watch.ask(command),
                    None => {}
                },
                Some(_) => watch.changed(true),
                // The terminal is gone.
                None => break,
            },
            Some(new) = reported.recv() => watch.apply(new),
            _ = seconds.tick() => watch.second(),
            () = sleep_until(watch.next_frame), if watch.dirty => {
                if screen.is_ready() {
                    watch.before_frame();
                    screen.draw(|frame| {
                        view::draw(frame, watch.shown(), &watch.ui, watch.theme);
                    })?;
                    watch.drawn();
                } else {
                    watch.next_frame = Instant::now() + RETRY_FRAME;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The events of the terminal, until it is gone.
fn inputs() -> std::io::Result<mpsc::Receiver<Event>> {
    let (sender, inputs) = mpsc::channel(QUEUED);
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if sender.blocking_send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(inputs)
}

struct Watch {
    known: Known,
    /// What is shown while the view is paused.
    paused: Option<Known>,
    ui: Ui,
    theme: Theme,
    sched_ext: SchedExt,
    cpu_reader: CpuReader,
    started: Instant,
    cpus_read: Option<Instant>,
    news: mpsc::Sender<News>,
    measurement: Option<Measurement>,
    /// Since when the daemon has not answered, and whether it ever did.
    gone: Option<Instant>,
    was_there: bool,
    pace: Pace,
    /// There is something to draw.
    dirty: bool,
    last_frame: Instant,
    next_frame: Instant,
}

impl Watch {
    fn new(news: mpsc::Sender<News>) -> Self {
        let sched_ext = SchedExt::below("/sys".as_ref());
        let mut known = Known::new(now_us(), sched_ext.read());
        let service = Reader::service();
        known.schedulers = known::ALL
            .iter()
            .filter(|known| executable::find_for(&service, known.command).is_ok())
            .map(|known| known.name().to_owned())
            .collect();
        let now = Instant::now();
        Self {
            known,
            paused: None,
            ui: Ui::new(),
            theme: Theme::of_terminal(),
            sched_ext,
            cpu_reader: CpuReader::new(Path::new("/")),
            started: now,
            cpus_read: None,
            news,
            measurement: None,
            gone: None,
            was_there: false,
            pace: Pace::new(cpu_time()),
            dirty: true,
            last_frame: now,
            next_frame: now,
        }
    }

    fn shown(&self) -> &Known {
        self.paused.as_ref().unwrap_or(&self.known)
    }

    /// There is something to draw; soon, if a person pressed a key.
    fn changed(&mut self, by_person: bool) {
        let next = self.last_frame + self.pace.next(by_person);
        self.next_frame = if self.dirty {
            next.min(self.next_frame)
        } else {
            next
        };
        self.dirty = true;
    }

    fn key(&mut self, key: event::KeyEvent) -> Option<Command> {
        let shown = self.paused.as_ref().unwrap_or(&self.known);
        let extent = Extent {
            pinnable: &shown.pinnable(),
            entries: shown.history.len(),
            why: pages::explanation(shown).len(),
        };
        let command = self.ui.key(key, extent);
        if self.ui.paused != self.paused.is_some() {
            self.paused = self.ui.paused.then(|| self.known.clone());
        }
        self.changed(true);
        command
    }

    /// Asks the daemon, without waiting for its answer: polkit may have to ask a person first.
    fn ask(&mut self, command: Command) {
        self.ui.note = Some(Note {
            text: "asked ...".to_owned(),
            failed: false,
        });
        tokio::spawn(daemon::ask(command, self.news.clone()));
    }

    fn apply(&mut self, new: News) {
        match new {
            News::Facts(facts) => {
                (self.gone, self.was_there, self.measurement) = (None, true, None);
                self.known.kernel = self.sched_ext.read();
                self.known.set_facts(*facts);
            }
            News::Why(why) => self.known.set_why(*why),
            News::History(history) => self.known.set_history(history),
            News::DaemonIsGone(why) => {
                self.gone.get_or_insert_with(Instant::now);
                self.known.daemon_is_gone(&why);
            }
            News::Measured(measured) => self.known.measured(*measured),
            News::CannotMeasure(why) => self.known.cannot_measure(&why),
            News::Answer(note) => self.ui.note = Some(note),
        }
        self.changed(false);
    }

    fn second(&mut self) {
        self.known.second(now_us(), self.sched_ext.read());
        self.measure_if_nobody_does();
        self.changed(false);
    }

    fn measure_if_nobody_does(&mut self) {
        let waits = matches!(
            self.known.source,
            Source::Nobody {
                measuring: Measuring::Waits,
                ..
            }
        );
        let long = self
            .gone
            .is_some_and(|gone| !self.was_there || gone.elapsed() >= RESTARTS_WITHIN);
        if waits && long && self.measurement.is_none() {
            match Measurement::start(self.news.clone()) {
                Ok(measurement) => self.measurement = Some(measurement),
                Err(error) => self.known.cannot_measure(&error.to_string()),
            }
        }
    }

    /// Reads what is needed only for frames.
    fn before_frame(&mut self) {
        let now = Instant::now();
        let due = self.cpus_read.is_none_or(|at| now - at >= SECOND);
        if due && self.paused.is_none() {
            self.cpus_read = Some(now);
            self.known.cpus = self.cpu_reader.read(now - self.started);
        }
    }

    fn drawn(&mut self) {
        self.pace.drawn(cpu_time());
        self.dirty = false;
        self.last_frame = Instant::now();
    }
}
