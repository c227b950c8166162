//! Waits for changes of the machine's processes, for rules about applications. The profiler reads them; how often is
//! decided here.

use std::io;
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
pub(crate) struct Processes(Stage);

enum Stage {
    /// The BPF programs are being attached, by a thread of their own: it takes some 200 ms.
    Attaching(JoinHandle<Result<Watch, ProcessesError>>),
    Attached(Box<Watch>),
    /// Processes cannot be followed; why has been logged.
    Failed,
}

/// The attached programs.
struct Watch {
    watcher: AsyncFd<ProcessWatcher>,
    /// There are changes, which are to be read then.
    read_at: Option<Instant>,
}

impl Processes {
    /// Begins to follow processes, without waiting for the BPF programs.
    pub(crate) fn follow() -> Self {
        Self(Stage::Attaching(spawn_blocking(Watch::attach)))
    }

    /// Follows processes from now on. Blocks for some 200 ms.
    pub(crate) fn attach() -> Result<Self, ProcessesError> {
        Watch::attach().map(|watch| Self(Stage::Attached(Box::new(watch))))
    }

    /// Waits for changes, and returns them; the first has all processes there are. Never returns when processes cannot be
    /// followed, which is logged. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) -> Vec<ProcessEvent> {
        loop {
            match &mut self.0 {
                Stage::Attached(watch) => return watch.changed().await,
                Stage::Failed => std::future::pending().await,
                Stage::Attaching(attaching) => {
                    let attached = attaching.await;
                    let attached = attached.expect("who attaches neither panics nor is aborted");
                    self.0 = attached.map_or_else(
                        |error| {
                            tracing::warn!(
                                "processes are not known, rules about them do not match: {error}"
                            );
                            Stage::Failed
                        },
                        |watch| Stage::Attached(Box::new(watch)),
                    );
                }
            }
        }
    }

    /// Has [`changed`](Self::changed) return all processes there are once more.
    pub(crate) fn read_all_again(&mut self) {
        match &mut self.0 {
            Stage::Attached(watch) => watch.watcher.get_mut().read_all_again(),
            // The first event has all.
            Stage::Attaching(_) => {}
            // It may work now.
            Stage::Failed => *self = Self::follow(),
        }
    }
}

impl Watch {
    /// Attaches the BPF programs. Blocks.
    fn attach() -> Result<Self, ProcessesError> {
        let watcher = ProcessWatcher::attach()?;
        // SAFETY: a watcher's descriptor is that of its ring buffer, which it holds until dropped.
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
    use std::process::Command;

    use tokio::time::timeout;

    use super::*;

    /// As the daemon's loop does, which drops the future whenever anything else happens.
    async fn changed_in_a_busy_loop(processes: &mut Processes) -> Vec<ProcessEvent> {
        loop {
            if let Ok(events) = timeout(Duration::from_millis(3), processes.changed()).await {
                return events;
            }
        }
    }

    #[tokio::test]
    #[ignore = "attaches BPF programs: run as root with --ignored"]
    async fn a_program_is_reported_in_time_however_often_the_future_is_dropped() {
        let mut processes = Processes::follow();
        let is_all = |event: &ProcessEvent| matches!(event, ProcessEvent::All(_));
        while !changed_in_a_busy_loop(&mut processes)
            .await
            .iter()
            .any(is_all)
        {}
        for _ in 0..10 {
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            let begin = Instant::now();
            let took = loop {
                let events = changed_in_a_busy_loop(&mut processes).await;
                if events.iter().any(|event| {
                    matches!(event, ProcessEvent::Started(process)
                        if process.pid == child.id() && process.comm == "sleep")
                }) {
                    break begin.elapsed();
                }
            };
            println!("exec to event: {took:?}");
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(took < Duration::from_millis(200));
            loop {
                let events = changed_in_a_busy_loop(&mut processes).await;
                if events.contains(&ProcessEvent::Ended { pid: child.id() }) {
                    break;
                }
            }
        }
    }
}
