//! Which vCPUs had better be on which CPUs: first places, then as few pins as make it even; and whether that is worth it.

use super::fewest_pins::fewest_pins;
use super::local_search::{improve, place_new};
use super::longest_first::longest_first;
use super::placement::Placement;
use super::problem::Problem;

/// Up to how many vCPUs other ways are tried too.
const FEW: usize = 64;
/// What is not made even has to become this much better at least: in percent of a CPU, and in parts.
const LEAST_GAIN: f64 = 1.0;
const LEAST_PART: f64 = 0.2;

/// What is to be pinned, and what that is to bring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Which vCPU goes to which slot, in the order in which it is done where not all is done at once.
    pub pins: Vec<(usize, usize)>,
    /// The standard deviation of use, in percent, as it is.
    pub before: f64,
    /// And as it is to become.
    pub after: f64,
    /// Up to which nothing is done.
    pub tolerance: f64,
}

impl Plan {
    /// Whether the CPUs are to be as evenly used as wanted.
    #[must_use]
    pub fn is_even(&self) -> bool {
        self.after <= self.tolerance
    }
}

/// The plan for a problem.
#[must_use]
pub fn plan(problem: &Problem) -> Plan {
    let present = Placement::present(problem);
    let mut placed = present.clone();
    place_new(&mut placed);
    if placed.pins() > 0 {
        improve(&mut placed, true);
    }
    let better = better(&placed);
    let chosen = if is_worth_it(&placed, &better) {
        &better
    } else {
        &placed
    };
    Plan {
        pins: pins(chosen),
        before: present.sigma(),
        after: chosen.sigma(),
        tolerance: present.tolerance(),
    }
}

/// The best that was found from where all have a place.
fn better<'p>(placed: &Placement<'p>) -> Placement<'p> {
    if is_even(placed) {
        return placed.clone();
    }
    let mut best = placed.clone();
    improve(&mut best, false);
    if placed.problem().items.len() > FEW {
        return best;
    }
    if !is_even(&best) {
        let other = longest_first(placed);
        if is_even(&other) && other.is_allowed() {
            best = other;
        }
    }
    let more = best.pins().saturating_sub(placed.pins());
    let most = if is_even(&best) {
        more.saturating_sub(1)
    } else {
        more + 2
    };
    fewest_pins(placed, most).unwrap_or(best)
}

fn is_even(placement: &Placement<'_>) -> bool {
    placement.sigma() <= placement.tolerance()
}

fn is_worth_it(before: &Placement<'_>, after: &Placement<'_>) -> bool {
    let gain = before.unevenness() - after.unevenness();
    let least = LEAST_GAIN.max(LEAST_PART * before.unevenness());
    is_even(after) || gain >= least
}

/// First places first, the heaviest first among them; then who leaves the fullest CPUs.
fn pins(placement: &Placement<'_>) -> Vec<(usize, usize)> {
    let problem = placement.problem();
    let present = Placement::present(problem);
    let all = 0..problem.items.len();
    let mut pins: Vec<(usize, usize)> = all
        .filter(|item| placement.is_pin(*item))
        .filter_map(|item| Some((item, placement.at(item)?)))
        .collect();
    pins.sort_by(|(one, _), (other, _)| {
        let item = |at: usize| &problem.items[at];
        let fullness = |at: usize| {
            item(at)
                .at
                .map_or(f64::INFINITY, |slot| present.use_of(slot))
        };
        let by_fullness = fullness(*other).total_cmp(&fullness(*one));
        by_fullness.then(item(*other).demand.total_cmp(&item(*one).demand))
    });
    pins
}
