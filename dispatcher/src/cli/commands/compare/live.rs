//! A turn under the load that runs anyway: once the scheduler has settled, the machine is measured for a time.

use std::time::Duration;

use tokio::time::sleep;

use super::comparison::Primary;
use super::meter::Meter;
use super::turn::{Ended, Turn};
use crate::cli::commands::child::Signals;

/// The times of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// How long the scheduler has run before it is measured.
    pub(super) settle: Duration,
    /// How long it is measured.
    pub(super) arm: Duration,
}

/// Waits, and measures, under the scheduler of this process. Without what is judged there is no turn.
pub(super) async fn run(
    meter: &Meter,
    scheduler: Option<u32>,
    Times { settle, arm }: Times,
    primary: &Primary,
    signals: &mut Signals,
) -> Ended {
    tokio::select! {
        () = sleep(settle) => {}
        signal = signals.next() => return Ended::Interrupted(signal),
    }
    let measuring = meter.begin(scheduler);
    tokio::select! {
        () = sleep(arm / 2) => {}
        signal = signals.next() => return Ended::Interrupted(signal),
    }
    let half = measuring.read();
    tokio::select! {
        () = sleep(arm / 2) => {}
        signal = signals.next() => return Ended::Interrupted(signal),
    }
    let (machine, [first, second]) = measuring.end_in_halves(&half);
    let turn = Turn {
        wall: arm.as_secs_f64(),
        user: None,
        system: None,
        value: None,
        machine,
        halves: None,
    };
    let judged = primary.measure();
    if judged.of(&turn).is_some() {
        let wall = turn.wall / 2.0;
        let of = |machine| {
            judged.of(&Turn {
                wall,
                machine,
                ..turn
            })
        };
        let halves = of(first).zip(of(second)).map(<[f64; 2]>::from);
        return Ended::Done(Box::new(Turn { halves, ..turn }));
    }
    Ended::Failed(match machine.outcome.map(|outcome| outcome.waits) {
        Some(None) if *primary == Primary::Waits => "nobody waited for a CPU".to_owned(),
        _ => format!("{} could not be read", judged.told),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_in_which_waits_are_not_measured_does_not_count() {
        let meter = Meter::default();
        let mut signals = Signals::new().unwrap();
        let soon = Duration::from_millis(10);
        let times = Times {
            settle: soon,
            arm: soon,
        };
        let ended = run(&meter, None, times, &Primary::Waits, &mut signals).await;
        let Ended::Failed(why) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(why, "the mean wait for a CPU could not be read");
    }
}
