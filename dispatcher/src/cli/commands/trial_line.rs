//! The trial that is on, in a line: of D-Bus' `Trial`.

use auto_ext_service::sanitize::sanitize;
use serde_json::Value as Json;

use crate::api::trials::TrialNow;

/// The trial in words, at `now`: CLOCK_REALTIME in microseconds; `None` while none is on.
pub(super) fn sentence(trial: &Json, now: u64) -> Option<String> {
    let text = |name| trial[name].as_str().unwrap_or_default().to_owned();
    let number = |name| {
        let number = trial[name].as_u64().unwrap_or_default();
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    let runs = trial["runs"].as_str()?.to_owned();
    let trial = TrialNow {
        class: text("class"),
        candidate: text("candidate"),
        runs,
        champion: text("champion"),
        turn: number("turn"),
        of_turns: number("of_turns"),
        pairs: number("pairs"),
        turn_end: trial["turn_end"].as_u64().unwrap_or_default(),
    };
    Some(sanitize(&trial.sentence(now)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_trial_has_no_line_and_what_the_bus_says_is_safe_to_print() {
        for none in [Json::Null, json!({}), json!({"runs": 7})] {
            assert_eq!(sentence(&none, 0), None);
        }
        let trial = json!({
            "runs": "flash", "candidate": "flash", "turn": 3, "of_turns": 12, "turn_end": 9_000_000
        });
        let expected = "flash against kernel, turn 3 of 12, back in 9 s";
        assert_eq!(sentence(&trial, 0).as_deref(), Some(expected));
        let hostile = json!({"runs": "\u{1b}[2J"});
        assert!(!sentence(&hostile, 0).unwrap().contains(char::is_control));
    }
}
