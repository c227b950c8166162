//! What the daemon holds for trials: what was kept, who looks for what is in the way, what measures.

use std::path::Path;

use auto_ext_trials::{Here, Unquiet};

use super::measuring::Measuring;
use crate::persistence::trial_store::{Kept, TrialStore};
use crate::sources::surroundings::Surroundings;

/// What the daemon holds for trials.
#[derive(Default)]
pub(super) struct TrialWork {
    /// `None` where the files are another daemon's.
    pub(super) store: Option<TrialStore>,
    /// What was kept, until it is passed to the core.
    pub(super) kept: Option<Kept>,
    /// The name of the processor.
    pub(super) processor: String,
    pub(super) here: Option<Here>,
    pub(super) surroundings: Option<Surroundings>,
    /// What is in the way by the surroundings; `None`: not known yet.
    pub(super) around: Option<Vec<Unquiet>>,
    /// What keeps the machine from becoming idle; `None`: not known.
    pub(super) inhibited: Option<Vec<String>>,
    /// The power profile is known, or that no service says one.
    pub(super) knows_profile: bool,
    /// What the core was told.
    pub(super) told: Option<Vec<Unquiet>>,
    pub(super) measuring: Option<Measuring>,
}

impl TrialWork {
    /// With what was kept in this directory.
    pub(super) fn open(directory: &Path) -> Self {
        let (store, kept) = TrialStore::open(directory);
        Self {
            store: Some(store),
            kept: Some(kept),
            ..Self::default()
        }
    }

    /// What is in the way, as far as it is known here; what is not known is.
    pub(super) fn unquiet(&self) -> Vec<Unquiet> {
        let inhibited = self.inhibited.as_ref().map(|who| {
            let who = who.iter().cloned();
            who.map(Unquiet::Inhibited).collect::<Vec<_>>()
        });
        let mut unquiet = Vec::new();
        let profile = self.knows_profile.then(Vec::new);
        for part in [self.around.clone(), inhibited, profile] {
            for reason in part.unwrap_or_else(|| vec![Unquiet::NotKnown]) {
                if !unquiet.contains(&reason) {
                    unquiet.push(reason);
                }
            }
        }
        unquiet
    }
}

/// Waits until something else is in the way than before; for ever where nobody looks.
pub(super) async fn changed(surroundings: &mut Option<Surroundings>) -> Vec<Unquiet> {
    match surroundings {
        Some(surroundings) => surroundings.changed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_in_the_way() {
        let mut work = TrialWork::default();
        assert_eq!(work.unquiet(), [Unquiet::NotKnown]);
        work.around = Some(Vec::new());
        assert_eq!(work.unquiet(), [Unquiet::NotKnown]);
        work.inhibited = Some(Vec::new());
        assert_eq!(work.unquiet(), [Unquiet::NotKnown]);
        work.knows_profile = true;
        work.inhibited = Some(vec!["player".into()]);
        assert_eq!(work.unquiet(), [Unquiet::Inhibited("player".into())]);
        work.inhibited = Some(Vec::new());
        assert_eq!(work.unquiet(), []);
        work.around = Some(vec![Unquiet::Sound]);
        assert_eq!(work.unquiet(), [Unquiet::Sound]);
    }
}
