//! Waits for changes of the machine's processes, for rules about applications. The profiler reads them; how often is
//! decided here.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use auto_ext_profiler::{AttachError, ProcessWatcher};
use auto_ext_signals::ProcessEvent;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep_until, timeout_at};

/// How long to wait for further changes after the first. What ends within that time is never read, a program that is
/// started through another has its own name by then, and a flood of processes costs twenty wake-ups a second.
const GATHER: Duration = Duration::from_millis(50);

/// Why processes cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessesError {
    /// The programs cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Their records cannot be waited for.
    #[error("the ring buffer cannot be polled: {0}")]
    Poll(#[from] io::Error),
}

/// The changes of processes, as long as this is held.
pub(crate) struct Processes {
    stage: Stage,
    /// They are told with their ancestors.
    ancestors: bool,
}

enum Stage {
    /// The BPF programs are being attached, by a thread of their own: it takes some 200 ms.
    Attaching(JoinHandle<Result<Watch<ProcessWatcher>, ProcessesError>>),
    Attached(Box<Watch<ProcessWatcher>>),
    /// Processes cannot be followed; why has been logged.
    Failed,
}

/// Whom to ask for changes, whose file descriptor becomes readable when there are some.
trait Watcher: AsRawFd {
    /// See [`ProcessWatcher::read`].
    fn read(&mut self) -> Vec<ProcessEvent>;

    /// See [`ProcessWatcher::due`].
    fn due(&self) -> Option<Instant>;
}

impl Watcher for ProcessWatcher {
    fn read(&mut self) -> Vec<ProcessEvent> {
        Self::read(self)
    }

    fn due(&self) -> Option<Instant> {
        Self::due(self)
    }
}

/// The attached programs, of which changes are gathered.
struct Watch<W: Watcher> {
    watcher: AsyncFd<W>,
    /// There are changes, which are to be read then.
    read_at: Option<Instant>,
}

impl Processes {
    /// Begins to follow processes, without waiting for the BPF programs.
    pub(crate) fn follow() -> Self {
        Self::at(Stage::Attaching(spawn_blocking(Watch::attach)))
    }

    /// Follows processes from now on. Blocks for some 200 ms.
    pub(crate) fn attach() -> Result<Self, ProcessesError> {
        Watch::attach().map(|watch| Self::at(Stage::Attached(Box::new(watch))))
    }

    fn at(stage: Stage) -> Self {
        Self {
            stage,
            ancestors: false,
        }
    }

    /// Whether processes are told with their ancestors from now on, which takes memory and time for each that starts; at
    /// first they are not.
    pub(crate) fn tell_ancestors(&mut self, wanted: bool) {
        self.ancestors = wanted;
        if let Stage::Attached(watch) = &mut self.stage {
            watch.watcher.get_mut().tell_ancestors(wanted);
        }
    }

    /// Waits for changes, and returns them; the first has all processes there are. Never returns when processes cannot be
    /// followed, which is logged. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) -> Vec<ProcessEvent> {
        loop {
            match &mut self.stage {
                Stage::Attached(watch) => return watch.changed().await,
                Stage::Failed => std::future::pending().await,
                Stage::Attaching(attaching) => {
                    let attached = attaching.await;
                    let attached = attached.expect("who attaches neither panics nor is aborted");
                    let ancestors = self.ancestors;
                    self.stage = attached.map_or_else(
                        |error| {
                            tracing::warn!(
                                "processes are not known, rules about them do not match: {error}"
                            );
                            Stage::Failed
                        },
                        |mut watch| {
                            watch.watcher.get_mut().tell_ancestors(ancestors);
                            Stage::Attached(Box::new(watch))
                        },
                    );
                }
            }
        }
    }

    /// Has [`changed`](Self::changed) return all processes there are once more.
    pub(crate) fn read_all_again(&mut self) {
        match &mut self.stage {
            Stage::Attached(watch) => watch.watcher.get_mut().read_all_again(),
            // The first event has all.
            Stage::Attaching(_) => {}
            // It may work now.
            Stage::Failed => self.stage = Self::follow().stage,
        }
    }
}

impl Watch<ProcessWatcher> {
    /// Attaches the BPF programs. Blocks.
    fn attach() -> Result<Self, ProcessesError> {
        Ok(Self::of(ProcessWatcher::attach()?)?)
    }
}

impl<W: Watcher> Watch<W> {
    fn of(watcher: W) -> io::Result<Self> {
        // SAFETY: a watcher's descriptor is that of a file which it holds until dropped.
        let watcher = unsafe { AsyncFd::register_with_interest(watcher, Interest::READABLE) }
            .map_err(io::Error::from)?;
        Ok(Self {
            watcher,
            read_at: Some(Instant::now()),
        })
    }

    /// Waits for changes, and returns them.
    async fn changed(&mut self) -> Vec<ProcessEvent> {
        loop {
            let read_at = match self.read_at {
                Some(read_at) => read_at,
                None => {
                    self.ready().await;
                    *self.read_at.insert(Instant::now() + GATHER)
                }
            };
            sleep_until(read_at.into()).await;
            self.read_at = None;
            let events = self.watcher.get_mut().read();
            if !events.is_empty() {
                return events;
            }
        }
    }

    /// Waits until there is something to read.
    async fn ready(&self) {
        let readable = async {
            match self.watcher.readable().await {
                // It becomes readable again only after it was empty; it is emptied after this.
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => std::future::pending().await,
            }
        };
        match self.watcher.get_ref().due() {
            // In either case there is something to read.
            Some(due) => drop(timeout_at(due.into(), readable).await),
            None => readable.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::RawFd;
    use std::os::unix::net::UnixStream;

    use tokio::time::timeout;

    use super::*;

    /// One whose processes end when bytes come, each with such a number.
    struct Bytes(UnixStream);

    impl AsRawFd for Bytes {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }
    }

    impl Watcher for Bytes {
        fn read(&mut self) -> Vec<ProcessEvent> {
            let mut bytes = [0; 16];
            let read = self.0.read(&mut bytes).unwrap_or(0);
            let ended = |byte: &u8| ProcessEvent::Ended {
                pid: u32::from(*byte),
            };
            bytes[..read].iter().map(ended).collect()
        }

        fn due(&self) -> Option<Instant> {
            None
        }
    }

    fn watched() -> (UnixStream, Watch<Bytes>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (ours, Watch::of(Bytes(theirs)).unwrap())
    }

    /// As the daemon's loop does, which drops the future whenever anything else happens.
    async fn changed_in_a_busy_loop(watch: &mut Watch<Bytes>) -> Vec<ProcessEvent> {
        loop {
            if let Ok(events) = timeout(Duration::from_millis(3), watch.changed()).await {
                return events;
            }
        }
    }

    #[tokio::test]
    async fn a_change_is_reported_however_often_the_future_is_dropped() {
        let (mut processes, mut watch) = watched();
        for number in 1..=5 {
            processes.write_all(&[number]).unwrap();
            let events = changed_in_a_busy_loop(&mut watch).await;
            let pid = u32::from(number);
            assert_eq!(events, [ProcessEvent::Ended { pid }]);
        }
    }

    #[tokio::test]
    async fn what_changes_soon_after_the_first_change_is_reported_with_it() {
        let (mut processes, mut watch) = watched();
        // What there is at first is read at once.
        assert!(timeout(GATHER, watch.changed()).await.is_err());
        let begin = Instant::now();
        processes.write_all(&[1]).unwrap();
        assert!(
            timeout(Duration::ZERO, watch.changed()).await.is_err(),
            "nothing is read at once"
        );
        processes.write_all(&[2]).unwrap();
        let events = changed_in_a_busy_loop(&mut watch).await;
        assert_eq!(events, [1, 2].map(|pid| ProcessEvent::Ended { pid }));
        assert!(begin.elapsed() >= GATHER);
    }
}
