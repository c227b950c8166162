//! What is under way and why, for people. Decides nothing.

use super::moment::Moment;
use super::obstacle::{Explanation, Mode, obstacle};
use super::state::{Config, Phase, State};

/// What is under way and why.
#[must_use]
pub fn explain(config: &Config, state: &State, now: Moment) -> Explanation {
    match &state.phase {
        Phase::Trying(trying) => Explanation {
            mode: Mode::Trial,
            reason: match trying.on() {
                None => "counts what was found".to_owned(),
                Some(at) => format!("tries candidate {} of {}", at + 1, trying.candidates.len()),
            },
        },
        Phase::Adopted(adopted) => {
            let gain = 100.0 * adopted.gain;
            let reason = if adopted.is_proven() {
                format!("{gain:.1} % better than what was found")
            } else {
                format!("has to prove that it is {gain:.1} % better than what was found")
            };
            Explanation {
                mode: Mode::Active,
                reason,
            }
        }
        Phase::Rest => obstacle(config, state, now).unwrap_or_else(|| Explanation {
            mode: Mode::Idle,
            reason: "no placement promises to be better than what the kernel does".to_owned(),
        }),
    }
}
