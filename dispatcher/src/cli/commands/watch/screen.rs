//! The terminal: set up for the view, and restored however the program ends, except by SIGKILL.
//!
//! Frames are written by a thread of its own, one at a time. When the terminal is slow or stopped, frames are left out, and
//! the program can end all the same.

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::lock::lock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::{cursor, execute, style, terminal};
use ratatui::layout::{Position, Rect};
use ratatui::{Frame, Terminal};

/// How long a terminal may take for what it has been sent when the program ends.
const LAST_FRAME_WITHIN: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);

/// The terminal while it shows the view.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Frames>>,
    frames: Frames,
}

/// What has been drawn of a frame, and the queue of the thread that writes frames.
#[derive(Clone)]
struct Frames {
    drawn: Arc<Mutex<Vec<u8>>>,
    frames: mpsc::Sender<Vec<u8>>,
    writing: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
}

impl Screen {
    /// Sets the terminal up.
    ///
    /// # Errors
    /// When standard output is not a terminal, or one that cannot be set up.
    pub(super) fn enter() -> anyhow::Result<Self> {
        if !io::stdout().is_terminal() {
            let why = "this is for a terminal; `auto-ext status` and `auto-ext levels` are not";
            return Err(WithCode::error(Code::Failed, why));
        }
        restore_when_panicking();
        let frames = Frames::start()?;
        set_up()?;
        let terminal = Terminal::new(CrosstermBackend::new(frames.clone()))
            .inspect_err(|_| drop(restore()))?;
        Ok(Self { terminal, frames })
    }

    /// Whether the terminal has taken all that it was sent. If not, a frame would have to wait.
    pub(super) fn is_ready(&self) -> bool {
        !self.frames.writing.load(Ordering::Acquire)
    }

    /// Draws a frame, and sends what is different from the last one.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        self.frames.send()
    }

    /// Has the next frame drawn as a whole, whatever the terminal shows.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        // `Terminal::clear` would ask the terminal where its cursor is, and wait for the answer.
        let area = Rect::from((Position::ORIGIN, self.terminal.size()?));
        self.terminal.resize(area)
    }

    /// Restores the terminal, stops as Ctrl-Z does, and sets it up again.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        self.frames.finish();
        restore()?;
        raise(Signal::SIGTSTP)?;
        set_up()?;
        self.redraw()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.frames.finish();
        // Without a terminal there is nothing to restore.
        let _ = restore();
    }
}

impl Frames {
    fn start() -> io::Result<Self> {
        let (frames, queue) = mpsc::channel::<Vec<u8>>();
        let started = Self {
            drawn: Arc::default(),
            frames,
            writing: Arc::default(),
            broken: Arc::default(),
        };
        let (writing, broken) = (Arc::clone(&started.writing), Arc::clone(&started.broken));
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                while let Ok(frame) = queue.recv() {
                    let mut out = io::stdout().lock();
                    if out.write_all(&frame).and_then(|()| out.flush()).is_err() {
                        broken.store(true, Ordering::Release);
                    }
                    writing.store(false, Ordering::Release);
                }
            })?;
        Ok(started)
    }

    /// Sends what was drawn. Called only when all before it is written, or rarely.
    fn send(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let frame = std::mem::take(&mut *lock(&self.drawn));
        if !frame.is_empty() {
            self.writing.store(true, Ordering::Release);
            let sent = self.frames.send(frame);
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(())
    }

    /// Waits until all is written, but not for long.
    fn finish(&self) {
        let begun = Instant::now();
        while self.writing.load(Ordering::Acquire) && begun.elapsed() < LAST_FRAME_WITHIN {
            thread::sleep(POLL);
        }
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.drawn).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn set_up() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    execute!(
        io::stdout(),
        terminal::EnterAlternateScreen,
        terminal::Clear(terminal::ClearType::All),
        cursor::Hide
    )
    .inspect_err(|_| drop(terminal::disable_raw_mode()))
}

/// Restores the terminal: the modes of the line first, for which nothing has to be written.
fn restore() -> io::Result<()> {
    terminal::disable_raw_mode()?;
    let stdout = io::stdout();
    let limit = PollTimeout::try_from(LAST_FRAME_WITHIN).unwrap_or(PollTimeout::ZERO);
    if poll(
        &mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)],
        limit,
    ) == Ok(0)
    {
        // Writing would wait for a terminal that takes nothing.
        return Err(io::ErrorKind::TimedOut.into());
    }
    execute!(
        io::stdout(),
        style::ResetColor,
        style::SetAttribute(style::Attribute::Reset),
        cursor::Show,
        terminal::LeaveAlternateScreen
    )
}

fn restore_when_panicking() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // Without a terminal there is nothing to restore.
        let _ = restore();
        before(panic);
    }));
}
