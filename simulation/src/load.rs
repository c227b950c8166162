//! A load and what each scheduler truly makes of it: how long the tasks wait that sleep, how many are woken, what gets done.

use std::time::Duration;

use auto_ext_signals::{OutcomeTotals, WaitBucket};
use auto_ext_trials::Reading;
use fastrand::Rng;

/// How the length of waits, and what is completed, differ from second to second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// Around a level that stays.
    Constant,
    /// Around a level that comes back to its mean within a minute.
    Ar1,
    /// Around a level that wanders.
    RandomWalk,
    /// Around one of two levels, a minute each on average.
    Regimes,
}

/// What is true of a scheduler, beside the kernel's own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truth {
    /// The logarithm of how many times as long tasks wait under the kernel's own, and as much is completed under this one: above 0 it is
    /// better.
    pub effect: f64,
    /// The logarithm of how many times as much is asked for, where what comes next waits for what came before.
    pub demand: f64,
    /// How long what was before it shows, in seconds.
    pub carry_over: f64,
    /// How often it fails, by the hour.
    pub failures: f64,
    /// How often the class of the load is told wrong for some seconds under it, by the minute.
    pub flicker: f64,
    /// The longest wait of any task, in seconds.
    pub longest_wait: f64,
}

/// A load that goes on.
#[derive(Clone, Debug)]
pub struct Load {
    noise: Noise,
    sigma: f64,
    chance: Rng,
    level: f64,
    /// The effect that shows now, which follows what runs.
    shown: f64,
    reading: Reading,
    user_ns: f64,
    completions: f64,
}

/// Wake-ups in a second, and how long they wait under the kernel's own, in nanoseconds.
const WAKES: f64 = 300.0;
const WAIT_NS: f64 = 400_000.0;
/// Requests that are completed in a second.
const COMPLETIONS: f64 = 20_000.0;
/// What demand and progress differ by in a turn.
const SIGMA_OF_DEMAND: f64 = 0.02;
const SIGMA_OF_USER: f64 = 0.01;
/// The seconds of a turn, of which these are the deviations.
const TURN: f64 = 15.0;
const BUCKETS: u32 = 12;

impl Load {
    /// Whose turns differ by so much, as the standard deviation of a logarithm.
    #[must_use]
    pub fn new(noise: Noise, sigma: f64, seed: u64) -> Self {
        let bucket = |n: u32| WaitBucket {
            from_ns: if n == 0 { 0 } else { 20_000 << n },
            to_ns: 40_000 << n,
            count: 0,
        };
        let waits = OutcomeTotals {
            waits: (0..BUCKETS).map(bucket).collect(),
            ..OutcomeTotals::default()
        };
        Self {
            noise,
            sigma,
            chance: Rng::with_seed(seed),
            level: 0.0,
            shown: 0.0,
            reading: Reading {
                waits,
                user_ns: Some(0),
                completions: Some(0),
                ..Reading::default()
            },
            user_ns: 0.0,
            completions: 0.0,
        }
    }

    /// With which probability something happens in a second that happens so often in so many seconds.
    pub(crate) fn happens(&mut self, often: f64, seconds: f64) -> bool {
        often > 0.0 && self.chance.f64() < often / seconds
    }

    fn normal(&mut self) -> f64 {
        let (a, b): (f64, f64) = (1.0 - self.chance.f64(), self.chance.f64());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// Some seconds that nobody measures.
    pub(crate) fn pass(&mut self, seconds: u32, truth: &Truth) {
        // The level of a minute ago says little.
        for _ in 0..seconds.min(60) {
            self.follow();
        }
        self.shown = truth.effect;
    }

    fn follow(&mut self) {
        match self.noise {
            Noise::Constant => {}
            Noise::Ar1 => self.level = 0.95 * self.level + 0.05 * self.normal(),
            Noise::RandomWalk => {
                // Not further than a load can go.
                self.level = (self.level + 0.01 * self.normal()).clamp(-2.0, 2.0);
            }
            Noise::Regimes => {
                if self.happens(1.0, 60.0) {
                    self.level = 0.4 - self.level;
                }
            }
        }
    }

    /// A second under a scheduler of which `truth` is true, until `now`.
    pub(crate) fn second(&mut self, truth: &Truth, now: Duration) -> Reading {
        self.follow();
        let rest = if truth.carry_over > 0.0 {
            (-1.0 / truth.carry_over).exp()
        } else {
            0.0
        };
        self.shown = rest * self.shown + (1.0 - rest) * truth.effect;
        let second = TURN.sqrt();
        let noise = self.sigma * second * self.normal();
        let slowness = (self.level + noise - self.shown).exp();
        let mean_ns = WAIT_NS * slowness;
        self.completions += COMPLETIONS / slowness;
        let demand = truth.demand + SIGMA_OF_DEMAND * second * self.normal();
        let wakes = (WAKES * demand.exp()).max(0.0);
        let user = truth.demand + SIGMA_OF_USER * second * self.normal();
        self.user_ns += 1e9 * user.exp();
        let waits = &mut self.reading.waits;
        waits.at_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        waits.wait_ns += whole(wakes * mean_ns);
        // Waits are spread as by chance alone.
        let longer_than = |ns: u64| (-(ns as f64) / mean_ns).exp();
        let mut left = whole(wakes);
        for bucket in waits.waits.iter_mut().rev() {
            let count = whole(wakes * longer_than(bucket.from_ns)).min(whole(wakes));
            let longer = whole(wakes).saturating_sub(left);
            let here = count.saturating_sub(longer).min(left);
            bucket.count += here;
            left -= here;
        }
        if let Some(shortest) = waits.waits.first_mut() {
            shortest.count += left;
        }
        self.reading.completions = Some(whole(self.completions));
        self.reading.user_ns = Some(whole(self.user_ns));
        self.reading.longest_wait = Duration::try_from_secs_f64(truth.longest_wait).ok();
        self.reading.clone()
    }
}

/// A number of things, or of nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is clamped to what fits"
)]
fn whole(number: f64) -> u64 {
    number.round().clamp(0.0, 9e18) as u64
}
