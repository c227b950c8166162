//! Where bursts come from.

use crate::burst::Wakeup;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Each burst as the last, but for little.
    Constant,
    /// As it happens.
    Random,
    /// A short one, a long one.
    Alternating,
    /// The longer it slept the longer it runs, or the shorter: by this power.
    Coupled(f64),
    /// The longer the longer, and after so many bursts the other way around, and so on.
    Flipping(u32),
}

/// One task.
#[derive(Clone, Debug)]
pub(super) struct Source {
    kind: Kind,
    rng: fastrand::Rng,
    turn: u32,
}

impl Source {
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        Self {
            kind,
            rng: fastrand::Rng::with_seed(seed),
            turn: 0,
        }
    }

    /// How it is woken next, and for how long it runs then, in nanoseconds.
    pub(super) fn next(&mut self) -> (Wakeup, u64) {
        self.turn += 1;
        let kind = match self.kind {
            Kind::Flipping(every) if (self.turn / every).is_multiple_of(2) => Kind::Coupled(1.0),
            Kind::Flipping(_) => Kind::Coupled(-1.0),
            kind => kind,
        };
        let slept = 21.0 + 1.5 * self.normal();
        let ran = match kind {
            Kind::Constant => 18.0 + 0.05 * self.normal(),
            Kind::Random => 18.0 + self.normal(),
            Kind::Alternating if self.turn.is_multiple_of(2) => 15.0 + 0.2 * self.normal(),
            Kind::Alternating => 19.0 + 0.2 * self.normal(),
            Kind::Coupled(power) => 18.0 + power * (slept - 21.0) + 0.2 * self.normal(),
            Kind::Flipping(_) => unreachable!("it is one of its two by now"),
        };
        let wakeup = Wakeup {
            slept_ns: nanoseconds(slept),
            own_process: self.rng.bool(),
            from_idle: self.rng.bool(),
        };
        (wakeup, nanoseconds(ran))
    }

    /// About normal: the sum of twelve that are as likely everywhere.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.rng.f64()).sum::<f64>() - 6.0
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "of what is between a microsecond and a second"
)]
fn nanoseconds(log2: f64) -> u64 {
    log2.exp2() as u64
}
