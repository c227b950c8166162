//! What is missing on this machine to observe and to place groups, in one line.

use std::path::Path;

use crate::counters::pmu::{self, NotBelieved};
use crate::surroundings::Surroundings;
use crate::topology::Topology;

use super::look::ROOT;

/// What is said where no cores have hardware threads.
pub(super) const NO_SMT: &str = "no core has two hardware threads that may be given to groups";

/// What there is to work with beside cores.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Means {
    /// Whether the processor's counters are to be believed.
    pub(super) pmu: Result<(), NotBelieved>,
    /// What there is around.
    pub(super) around: Surroundings,
}

impl Means {
    /// Finds out; the counters of the first core that may be given to groups are tried.
    pub(super) fn find(topology: &Topology) -> Self {
        let root = Path::new(ROOT);
        let cores = topology
            .domains
            .iter()
            .flat_map(|domain| domain.cores.iter());
        let cpu = cores.flat_map(|core| core.cpus.iter()).next();
        Self {
            pmu: pmu::check(root, cpu.copied().unwrap_or_default()),
            around: Surroundings::read(root),
        }
    }

    /// One word for the counters.
    pub(super) fn pmu_word(&self) -> &'static str {
        match &self.pmu {
            Ok(()) => "ok",
            Err(why) => why.word(),
        }
    }

    /// All that is missing.
    pub(super) fn all_missing(&self) -> Vec<String> {
        let pmu = self.pmu.as_ref().err();
        let pmu = pmu.map(|why| format!("instructions per cycle: unavailable: {why}"));
        pmu.into_iter().chain(self.around.missing()).collect()
    }

    /// The same in one line; `None` where nothing is.
    pub(super) fn missing(&self) -> Option<String> {
        let missing = self.all_missing();
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use crate::counters::NotCounted;

    use super::*;

    #[test]
    fn all_that_is_missing_is_one_line_and_nothing_is_none() {
        let all = Means {
            pmu: Ok(()),
            around: Surroundings {
                scheduler: None,
                container: false,
            },
        };
        assert_eq!((all.missing(), all.pmu_word()), (None, "ok"));
        let little = Means {
            pmu: Err(NotBelieved::NotCounted(NotCounted::Absent)),
            around: Surroundings {
                scheduler: Some("lavd".to_owned()),
                container: true,
            },
        };
        let missing = little.missing().unwrap();
        assert_eq!(missing.lines().count(), 1);
        for what in [
            "unavailable: this machine has no counters",
            "(lavd)",
            "a container",
        ] {
            assert!(missing.contains(what), "{missing}");
        }
        assert_eq!(little.pmu_word(), "absent");
    }
}
