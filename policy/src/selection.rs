//! Which programs a condition is about: those with certain names, and those that certain others led to.

use std::fmt;
use std::sync::Arc;

use auto_ext_signals::Process;

use crate::descendants::Descendants;
use crate::pattern::Pattern;
use crate::programs::{List, Programs};

/// The programs that a condition is about: those of one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// By their own names.
    pub programs: Programs,
    /// By what led to them, in the order of the file.
    pub descendants: Vec<Descendants>,
}

impl Selection {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.descendants.is_empty()
    }

    /// Whether `process` is one of them.
    #[must_use]
    pub fn contain(&self, process: &Process) -> bool {
        self.programs.contain(process) || self.ancestor_of(process).is_some()
    }

    /// The ancestor by which `process` is one of them, if it is one by an ancestor.
    #[must_use]
    pub fn ancestor_of<'p>(&self, process: &'p Process) -> Option<&'p Process> {
        let mut descendants = self.descendants.iter();
        descendants.find_map(|descendants| descendants.ancestor_of(process))
    }

    /// How many patterns and lists there are.
    pub(crate) fn patterns(&self) -> usize {
        let descendants = self.descendants.iter().map(Descendants::patterns);
        self.programs.len() + descendants.sum::<usize>()
    }

    /// All lists by which they are told.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &Arc<List>> {
        let descendants = self.descendants.iter();
        let others = descendants.flat_map(
            |Descendants {
                 programs,
                 ancestors,
             }| { programs.lists.iter().chain(&ancestors.lists) },
        );
        self.programs.lists.iter().chain(others)
    }

    /// Whether these certainly contain all of `others`. `false` as well where that is not easily known.
    pub(crate) fn cover(&self, others: &Self) -> bool {
        let descendants = |other: &Descendants| {
            // Those of them that are called like these are here anyway.
            let by_name = !other.programs.is_empty() && self.programs.cover(&other.programs);
            by_name || self.descendants.iter().any(|wider| wider.cover(other))
        };
        self.programs.cover(&others.programs) && others.descendants.iter().all(descendants)
    }
}

impl From<Vec<Pattern>> for Selection {
    fn from(patterns: Vec<Pattern>) -> Self {
        Self {
            programs: patterns.into(),
            descendants: Vec::new(),
        }
    }
}

/// As they are written, with `or` between them.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs = (!self.programs.is_empty()).then(|| self.programs.to_string());
        let descendants = self.descendants.iter().map(ToString::to_string);
        let all: Vec<String> = programs.into_iter().chain(descendants).collect();
        f.write_str(&all.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::tests::programs;

    #[test]
    fn a_selection_covers_others_only_if_it_is_certain() {
        let named = |patterns: &[&str]| Selection {
            programs: programs(patterns),
            ..Selection::default()
        };
        let descend = |ancestor: &str, which: &[&str]| Selection {
            descendants: vec![Descendants {
                programs: programs(which),
                ancestors: programs(&[ancestor]),
            }],
            ..Selection::default()
        };
        assert!(named(&["a*"]).cover(&named(&["ab"])));
        // By their names alone, whatever they descend from.
        assert!(named(&["*.exe"]).cover(&descend("x", &["a.exe"])));
        assert!(descend("x", &[]).cover(&descend("x", &[])));
        assert!(!named(&["*"]).cover(&descend("x", &[])));
        assert!(!descend("x", &[]).cover(&named(&["x"])));
        assert!(!descend("x", &["a"]).cover(&descend("y", &["a"])));
        assert!(Selection::default().cover(&Selection::default()));
    }
}
