//! The daemon's line to the bus: it may be cut at any time, and is tied again.
//!
//! The bus is served on the thread of callers: schedulers do not wait for it. A bus that is not there, goes away or
//! hangs costs what would have been said meanwhile, and the holds of callers, who have left with it.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::bus::{Bus, BusError, Place};
use crate::lock::lock;
use crate::report::{Current, Thoughts};
use crate::surroundings;

/// How long the bus may take for what it is told.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);
/// How long it may take to get there.
const JOINED_WITHIN: Duration = Duration::from_secs(10);
/// How long is waited before it is tried again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// How many switches may wait to be announced; a bus that takes its time for more does not hear of all.
const WAITING: usize = 64;

/// The daemon's end of the line.
pub(super) struct Line {
    place: Place,
    current: watch::Sender<Current>,
    switches: mpsc::Sender<Switched>,
    heard: mpsc::Receiver<Heard>,
    work: JoinHandle<()>,
}

/// A change of the scheduler, as it is announced.
struct Switched {
    from: String,
    to: String,
    reason: String,
    gap_us: u64,
}

/// What comes over the line.
#[derive(Debug)]
pub(super) enum Heard {
    /// It was cut: all callers have left. It is tied again once that was taken note of.
    Cut(oneshot::Sender<()>),
    /// What others on the bus say.
    Surroundings(surroundings::Change),
}

/// The other end, on the thread of callers.
struct Worker {
    place: Place,
    current: watch::Receiver<Current>,
    switches: mpsc::Receiver<Switched>,
    tell: mpsc::Sender<Heard>,
}

/// Why the bus is not served any more.
enum End {
    /// It has gone, or takes nothing.
    Cut,
    /// The daemon has no more to say.
    Leave,
}

impl Line {
    /// Ties the line, whose other end is on `callers`. A bus that is not there or hangs is waited for behind this.
    ///
    /// # Errors
    /// When the bus is there, but refuses the name.
    pub(super) async fn tie(
        callers: &Handle,
        place: Place,
        current: Current,
    ) -> Result<Self, BusError> {
        let (current, shown) = watch::channel(current);
        let (switches, announced) = mpsc::channel(WAITING);
        let (tell, heard) = mpsc::channel(1);
        let worker = Worker {
            place: place.clone(),
            current: shown,
            switches: announced,
            tell,
        };
        let there = place.clone();
        let join = callers.spawn(async move { timeout(JOINED_WITHIN, there.join()).await });
        let why = match join.await.expect("who joins neither panics nor is aborted") {
            Ok(Ok(bus)) => {
                let work = match bus {
                    Some(bus) => callers.spawn(worker.work(Some(bus))),
                    None => callers.spawn(std::future::ready(())),
                };
                return Ok(Self {
                    place,
                    current,
                    switches,
                    heard,
                    work,
                });
            }
            Ok(Err(error)) if error.is_final() => return Err(error),
            Ok(Err(error)) => error.to_string(),
            Err(_) => no_answer(JOINED_WITHIN),
        };
        tracing::warn!("running without D-Bus until it is there: {why}");
        Ok(Self {
            place,
            current,
            switches,
            heard,
            work: callers.spawn(worker.work(None)),
        })
    }

    /// Waits for what comes over the line. Can be dropped and called again.
    pub(super) async fn heard(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // There is no bus to hear from.
            None => std::future::pending().await,
        }
    }

    /// Shows what the kernel runs and what is thought of it, if there is somebody to be shown it.
    pub(super) fn show(&self, current: Current, thoughts: Thoughts) {
        // Whoever reads it is told at once; it is announced behind this.
        *lock(&self.place.thoughts) = thoughts;
        self.current.send_replace(current);
    }

    /// Announces that the scheduler changed.
    pub(super) fn switched(&self, from: &str, to: &str, reason: &str, gap_us: u64) {
        let switched = Switched {
            from: from.to_owned(),
            to: to.to_owned(),
            reason: reason.to_owned(),
            gap_us,
        };
        // With no bus, or one that takes nothing, nobody would hear of it.
        let _ = self.switches.try_send(switched);
    }

    /// Gives the name back, and lets the line go.
    pub(super) async fn leave(self) {
        let Self {
            current,
            switches,
            heard,
            mut work,
            ..
        } = self;
        drop((current, switches, heard));
        // A bus that hangs finds out by itself.
        if timeout(2 * TAKEN_WITHIN, &mut work).await.is_err() {
            work.abort();
        }
    }
}

impl Worker {
    /// Serves the bus, one after the other, until the daemon lets the line go.
    async fn work(mut self, mut bus: Option<Bus>) {
        loop {
            let there = match bus.take() {
                Some(bus) => bus,
                None => {
                    let joined = tokio::select! {
                        joined = join_again(&self.place) => joined,
                        () = self.tell.closed() => return,
                    };
                    tracing::info!("on D-Bus again");
                    // What was to be announced until now is old.
                    while self.switches.try_recv().is_ok() {}
                    joined
                }
            };
            match self.serve(there).await {
                End::Leave => return,
                End::Cut => {
                    let (taken, note_was_taken) = oneshot::channel();
                    if self.tell.send(Heard::Cut(taken)).await.is_err() {
                        return;
                    }
                    // It is dropped only with the daemon.
                    let _ = note_was_taken.await;
                }
            }
        }
    }

    /// Serves this bus to its end.
    async fn serve(&mut self, mut bus: Bus) -> End {
        let mut surroundings = surroundings::listen(Some(bus.connection()));
        // It shows what was known when it was joined.
        self.current.mark_changed();
        let why = loop {
            tokio::select! {
                biased;
                () = bus.gone() => {
                    tracing::warn!("D-Bus has gone; it is waited for");
                    return End::Cut;
                }
                changed = self.current.changed() => match changed {
                    Ok(()) => if let Err(why) = self.show(&mut bus).await {
                        break why;
                    },
                    Err(_) => {
                        let _ = timeout(TAKEN_WITHIN, bus.leave()).await;
                        return End::Leave;
                    }
                },
                Some(switched) = self.switches.recv() => {
                    // Whoever hears of it may ask at once.
                    let Switched { from, to, reason, gap_us } = switched;
                    let announced = bus.switched(&from, &to, &reason, gap_us);
                    if let Err(why) = taken(announced).await {
                        break why;
                    }
                }
                Some(change) = surroundings.recv() => {
                    if self.tell.send(Heard::Surroundings(change)).await.is_err() {
                        let _ = timeout(TAKEN_WITHIN, bus.leave()).await;
                        return End::Leave;
                    }
                }
            }
        };
        tracing::warn!("D-Bus does not take what it is told; it is tried again: {why}");
        bus.hang_up();
        End::Cut
    }

    async fn show(&mut self, bus: &mut Bus) -> Result<(), String> {
        let current = self.current.borrow_and_update().clone();
        let thoughts = lock(&self.place.thoughts).clone();
        taken(bus.show(current, thoughts)).await
    }
}

/// Waits until the bus has taken what it is told; why it has not.
async fn taken(telling: impl Future<Output = zbus::Result<()>>) -> Result<(), String> {
    match timeout(TAKEN_WITHIN, telling).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(no_answer(TAKEN_WITHIN)),
    }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(within))
}

/// Tries to get on the bus until that works; says once what is in the way.
async fn join_again(place: &Place) -> Bus {
    let [mut pause, longest] = PAUSES;
    let mut said = false;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(longest);
        let error = match timeout(JOINED_WITHIN, place.join()).await {
            Ok(Ok(Some(bus))) => return bus,
            // Whoever wants no bus has no line.
            Ok(Ok(None)) => return std::future::pending().await,
            Ok(Err(error)) => error,
            Err(_) => continue,
        };
        // That there is none yet is what is waited for.
        if error.is_final() && !std::mem::replace(&mut said, true) {
            tracing::warn!("not on D-Bus: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::bus::BusKind;
    use crate::children::Children;
    use crate::core::State as CoreState;
    use crate::kernel::SchedExt;
    use crate::policy::Policy;
    use crate::request::Requests;

    #[tokio::test]
    async fn who_wants_no_bus_hears_nothing_of_one() {
        let policy = Policy::default();
        let state = CoreState::new(&policy, true);
        let thoughts = Thoughts::of(&policy, &state, Duration::ZERO, 0, 0, 0);
        let sched_ext = SchedExt::below("/nonexistent".as_ref());
        let current = Current::read(&sched_ext, &Children::default());
        let place = Place {
            kind: BusKind::None,
            sched_ext,
            children: Children::default(),
            thoughts: Arc::new(Mutex::new(thoughts.clone())),
            requests: Requests::channel().0,
        };
        let here = Handle::current();
        let tied = Line::tie(&here, place, current.clone());
        let mut line = tied.await.unwrap();
        line.show(current, thoughts);
        line.switched("kernel", "scx_a", "", 0);
        let heard = timeout(Duration::from_millis(20), line.heard()).await;
        assert!(heard.is_err());
        line.leave().await;
    }
}
