//! Values of properties by their names, and that of `Trial`, which is a dictionary of such.

use std::collections::BTreeMap;

use zbus::Variant;

use crate::api::trials::TrialNow;

/// Values by their names.
pub(super) type Values = BTreeMap<&'static str, Variant<'static>>;

/// The property `Trial`; empty while none is on.
pub(super) fn trial_values(trial: Option<&TrialNow>) -> Values {
    let Some(trial) = trial else {
        return Values::new();
    };
    Values::from([
        ("class", trial.class.clone().into()),
        ("candidate", trial.candidate.clone().into()),
        ("runs", trial.runs.clone().into()),
        ("champion", trial.champion.clone().into()),
        ("turn", trial.turn.into()),
        ("of_turns", trial.of_turns.into()),
        ("pairs", trial.pairs.into()),
        ("turn_end", trial.turn_end.into()),
    ])
}
