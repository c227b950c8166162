//! The daemon's line to the bus: it may be cut at any time, and is tied again.
//!
//! Schedulers do not wait for it. A bus that is not there, goes away or hangs costs what would have
//! been said meanwhile, and the holds of callers, who have left with it.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use zbus::Connection;

use crate::bus::{Bus, BusError, Place};
use crate::report::{Current, Thoughts};

/// How long the bus may take for what it is told.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);
/// How long it may take to get there.
const JOINED_WITHIN: Duration = Duration::from_secs(10);
/// How long is waited before it is tried again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// The line, tied or cut.
pub(super) struct Line {
    state: State,
    place: Place,
    /// What was last to be shown.
    thoughts: Thoughts,
}

enum State {
    Tied(Box<Bus>),
    /// It was cut, and nobody was told yet.
    Cut(JoinHandle<Bus>),
    /// It is being tied again.
    Joining(JoinHandle<Bus>),
    /// There is to be none.
    None,
}

/// What became of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Cut,
    Tied,
}

impl Line {
    /// Ties the line. A bus that is not there or hangs is waited for behind this.
    ///
    /// # Errors
    /// When the bus is there, but refuses the name.
    pub(super) async fn tie(place: Place, thoughts: Thoughts) -> Result<Self, BusError> {
        let joined = timeout(JOINED_WITHIN, place.join(thoughts.clone())).await;
        let why = match joined {
            Ok(Ok(bus)) => {
                let state = bus.map_or(State::None, |bus| State::Tied(Box::new(bus)));
                return Ok(Self {
                    state,
                    place,
                    thoughts,
                });
            }
            Ok(Err(error)) if error.is_final() => return Err(error),
            Ok(Err(error)) => error.to_string(),
            Err(_) => no_answer(JOINED_WITHIN),
        };
        tracing::warn!("running without D-Bus until it is there: {why}");
        let state = State::Joining(join_again(place.clone(), thoughts.clone()));
        Ok(Self {
            state,
            place,
            thoughts,
        })
    }

    /// The connection, while there is one.
    pub(super) fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Tied(bus) => Some(bus.connection()),
            _ => None,
        }
    }

    /// Waits until the line is cut or tied again. Can be dropped and called again.
    pub(super) async fn changed(&mut self) -> Change {
        match &mut self.state {
            State::Tied(bus) => {
                bus.gone().await;
                tracing::warn!("D-Bus has gone; it is waited for");
                self.state = State::Joining(self.join_again());
                Change::Cut
            }
            State::Cut(_) => {
                if let State::Cut(joining) = std::mem::replace(&mut self.state, State::None) {
                    self.state = State::Joining(joining);
                }
                Change::Cut
            }
            State::Joining(joining) => match joining.await {
                Ok(bus) => {
                    tracing::info!("on D-Bus again");
                    self.state = State::Tied(Box::new(bus));
                    Change::Tied
                }
                // It neither panics nor is it aborted before the line is let go.
                Err(_) => std::future::pending().await,
            },
            State::None => std::future::pending().await,
        }
    }

    /// Shows what the kernel runs and what is thought of it, if there is somebody to be shown it.
    pub(super) async fn show(&mut self, current: Current, thoughts: Thoughts) {
        self.thoughts = thoughts.clone();
        if let State::Tied(bus) = &mut self.state {
            let taken = timeout(TAKEN_WITHIN, bus.show(current, thoughts)).await;
            self.cut_unless(taken);
        }
    }

    /// Announces that the scheduler changed.
    pub(super) async fn switched(&mut self, from: &str, to: &str, reason: &str, gap_us: u64) {
        if let State::Tied(bus) = &self.state {
            let taken = timeout(TAKEN_WITHIN, bus.switched(from, to, reason, gap_us)).await;
            self.cut_unless(taken);
        }
    }

    /// A bus that does not take what it is told would hold up schedulers with every word.
    fn cut_unless(&mut self, taken: Result<zbus::Result<()>, Elapsed>) {
        let why = match taken {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => no_answer(TAKEN_WITHIN),
        };
        tracing::warn!("D-Bus does not take what it is told; it is tried again: {why}");
        let joining = self.join_again();
        if let State::Tied(bus) = std::mem::replace(&mut self.state, State::Cut(joining)) {
            bus.hang_up();
        }
    }

    fn join_again(&self) -> JoinHandle<Bus> {
        join_again(self.place.clone(), self.thoughts.clone())
    }

    /// Gives the name back, and lets the line go.
    pub(super) async fn leave(self) {
        match self.state {
            // A bus that hangs finds out by itself.
            State::Tied(bus) => drop(timeout(TAKEN_WITHIN, bus.leave()).await),
            State::Cut(joining) | State::Joining(joining) => joining.abort(),
            State::None => {}
        }
    }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(within))
}

/// Tries to get on the bus until that works; says once what is in the way.
fn join_again(place: Place, thoughts: Thoughts) -> JoinHandle<Bus> {
    tokio::spawn(async move {
        let [mut pause, longest] = PAUSES;
        let mut said = false;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(longest);
            let error = match timeout(JOINED_WITHIN, place.join(thoughts.clone())).await {
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::BusKind;
    use crate::children::Children;
    use crate::core::State as CoreState;
    use crate::kernel::SchedExt;
    use crate::policy::Policy;
    use crate::request::Requests;

    fn thoughts() -> Thoughts {
        let state = CoreState::new(&Policy::default(), true);
        Thoughts::of(&Policy::default(), &state, Duration::ZERO, 0, 0, 0)
    }

    #[tokio::test]
    async fn who_wants_no_bus_hears_nothing_of_one() {
        let place = Place {
            kind: BusKind::None,
            sched_ext: SchedExt::below("/nonexistent".as_ref()),
            children: Children::default(),
            requests: Requests::channel().0,
        };
        let mut line = Line::tie(place, thoughts()).await.unwrap();
        assert!(line.connection().is_none());
        let changed = timeout(Duration::from_millis(20), line.changed()).await;
        assert!(changed.is_err());
        line.leave().await;
    }
}
