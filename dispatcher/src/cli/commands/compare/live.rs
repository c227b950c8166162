//! A turn under the load that runs anyway: once the scheduler has settled, the machine is measured for a time.

use std::time::Duration;

use tokio::time::sleep;

use super::meter::Meter;
use super::turn::{Ended, Turn};
use crate::cli::commands::child::Signals;

/// How long a scheduler has run before its turn is measured: what the other one left in queues and caches is gone then.
const SETTLE: Duration = Duration::from_secs(3);

/// The times of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    settle: Duration,
    arm: Duration,
}

impl Times {
    /// Where so long is measured.
    pub(super) fn of(arm: Duration) -> Self {
        Self {
            settle: SETTLE,
            arm,
        }
    }
}

/// Waits, and measures, under the scheduler of this process.
pub(super) async fn run(
    meter: &Meter,
    scheduler: Option<u32>,
    Times { settle, arm }: Times,
    signals: &mut Signals,
) -> Ended {
    tokio::select! {
        () = sleep(settle) => {}
        signal = signals.next() => return Ended::Interrupted(signal),
    }
    let measuring = meter.begin(scheduler);
    tokio::select! {
        () = sleep(arm) => {}
        signal = signals.next() => return Ended::Interrupted(signal),
    }
    let machine = measuring.end();
    match machine.outcome.map(|outcome| outcome.waits) {
        Some(Some(_)) => Ended::Done(Turn {
            wall: arm.as_secs_f64(),
            user: None,
            system: None,
            value: None,
            machine,
        }),
        Some(None) => Ended::Failed("nobody waited for a CPU".to_owned()),
        None => Ended::Failed("how long tasks wait could not be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_in_which_waits_are_not_measured_does_not_count() {
        let meter = Meter::without_outcomes();
        let mut signals = Signals::new().unwrap();
        let soon = Duration::from_millis(10);
        let times = Times {
            settle: soon,
            arm: soon,
        };
        let ended = run(&meter, None, times, &mut signals).await;
        assert!(matches!(ended, Ended::Failed(_)), "{ended:?}");
    }
}
