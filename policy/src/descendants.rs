//! Programs told by what started them: a game by its launcher, whatever the game is called.

use std::fmt;

use auto_ext_signals::Process;

use crate::pattern::program;
use crate::programs::Programs;

/// Programs of which one of the ancestors is known. Those that are such ancestors themselves are not meant, so that a
/// launcher which starts itself anew is no game; nor, where any program will do, is what wine runs by itself beside every
/// other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendants {
    /// Which programs, by their own names; empty: any will do.
    pub programs: Programs,
    /// One of these has to be among the ancestors. Never empty.
    pub ancestors: Programs,
}

impl Descendants {
    /// Whether `process` is one of them.
    #[must_use]
    pub fn contain(&self, process: &Process) -> bool {
        self.ancestor_of(process).is_some()
    }

    /// The ancestor by which `process` is one of them, the nearest.
    pub(crate) fn ancestor_of<'p>(&self, process: &'p Process) -> Option<&'p Process> {
        let mut ancestors = process.ancestors.iter();
        let ancestor = ancestors.find(|ancestor| self.ancestors.contain(ancestor))?;
        let is_meant = if self.programs.is_empty() {
            !program::is_of_wine(process)
        } else {
            self.programs.contain(process)
        };
        (is_meant && !self.ancestors.contain(process)).then_some(ancestor)
    }

    /// How many patterns and lists there are.
    pub(crate) fn patterns(&self) -> usize {
        self.programs.len() + self.ancestors.len()
    }

    /// Whether these certainly contain all of `other`. `false` as well where that is not easily known.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        let programs = self.programs.is_empty() == other.programs.is_empty()
            && self.programs.cover(&other.programs);
        // Whoever is an ancestor here and not there is not meant here.
        let ancestors =
            self.ancestors.cover(&other.ancestors) && other.ancestors.cover(&self.ancestors);
        programs && ancestors
    }
}

/// As it is told to people.
impl fmt::Display for Descendants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.programs.is_empty() {
            write!(f, "descendant of {}", self.ancestors)
        } else {
            write!(f, "{} that descends from {}", self.programs, self.ancestors)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pattern::tests::process;
    use crate::programs::List;
    use crate::programs::tests::programs;

    fn descendants(of: &[&str], which: &[&str]) -> Descendants {
        Descendants {
            programs: programs(which),
            ancestors: programs(of),
        }
    }

    /// A program in /usr/bin with ancestors there, the nearest first.
    fn child(name: &str, ancestors: &[&str]) -> Process {
        let there = |name: &str| process(name, &format!("/usr/bin/{name}"), name);
        Process {
            ancestors: ancestors.iter().map(|name| Arc::new(there(name))).collect(),
            ..there(name)
        }
    }

    #[test]
    fn any_ancestor_will_do_and_the_nearest_is_told() {
        let games = descendants(&["reaper", "steam"], &[]);
        let game = child("game", &["python3", "reaper", "steam", "systemd"]);
        assert_eq!(games.ancestor_of(&game).unwrap().comm, "reaper");
        assert!(games.contain(&child("bash", &["steam"])));
        assert!(!games.contain(&child("game", &["bash", "systemd"])));
        assert!(!games.contain(&child("game", &[])));
    }

    #[test]
    fn who_is_an_ancestor_by_name_is_no_descendant() {
        let games = descendants(&["steam"], &[]);
        assert!(!games.contain(&child("steam", &["steam", "steam.sh"])));
        assert!(games.contain(&child("game", &["steam", "steam"])));
    }

    #[test]
    fn programs_are_told_by_both_their_names_and_their_ancestors() {
        let games = descendants(&["reaper"], &["*.exe"]);
        assert!(games.contain(&child("Game.EXE", &["proton", "reaper"])));
        for name in ["python3", "services.exe", "Explorer.EXE"] {
            assert!(
                !games.contain(&child(name, &["proton", "reaper"])),
                "{name}"
            );
        }
        assert!(!games.contain(&child("Game.EXE", &["bash"])));
    }

    #[test]
    fn what_wine_runs_by_itself_is_no_descendant_unless_it_is_named() {
        let any = descendants(&["reaper"], &[]);
        let named = descendants(&["reaper"], &["services.exe"]);
        let service = child("Services.EXE", &["game.exe", "reaper"]);
        assert!(!any.contain(&service) && named.contain(&service));
    }

    #[test]
    fn for_ancestors_of_windows_upper_and_lower_case_are_the_same() {
        let list = List::new("launchers", ["Launcher.EXE".to_owned()]);
        let listed = Programs {
            lists: vec![Arc::new(list)],
            ..Programs::default()
        };
        let child = child("game", &["LAUNCHER.exe"]);
        for ancestors in [
            programs(&["launcher.Exe"]),
            programs(&["Launch*.exe"]),
            listed,
        ] {
            let games = Descendants {
                programs: Programs::default(),
                ancestors,
            };
            assert!(games.contain(&child), "{games}");
        }
        assert!(!descendants(&["Game"], &[]).contain(&self::child("a", &["game"])));
    }

    #[test]
    fn descendants_cover_others_only_if_it_is_certain() {
        let covers = |wide: Descendants, narrow: Descendants| wide.cover(&narrow);
        assert!(covers(
            descendants(&["a"], &["*.exe"]),
            descendants(&["a"], &["b.exe"])
        ));
        assert!(covers(descendants(&["a"], &[]), descendants(&["a"], &[])));
        // This would be what wine runs by itself.
        assert!(!covers(
            descendants(&["a"], &[]),
            descendants(&["a"], &["b"])
        ));
        assert!(!covers(
            descendants(&["a"], &["b"]),
            descendants(&["a"], &[])
        ));
        // `ab` that descends from `a`.
        assert!(!covers(descendants(&["a*"], &[]), descendants(&["a"], &[])));
        assert!(!covers(descendants(&["a"], &[]), descendants(&["b"], &[])));
    }
}
