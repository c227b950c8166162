//! Programs by their own names: patterns, and lists of exact names.
//!
//! The names of a list are kept in one text, sorted, with the places at which they end: 20,000 names take some 0.5 MB and as
//! many allocations as two do, where a set of strings takes two to three times that. To look for all names of a program takes
//! half a microsecond, of which the 15 comparisons for each are the smaller part; and names with the same beginning stand side
//! by side, by which a name is found that the kernel has cut off.

use std::fmt;
use std::sync::Arc;

use auto_ext_signals::Process;

use crate::pattern::{Pattern, program};

/// How much of a program's name the kernel keeps, in bytes: TASK_COMM_LEN without the final NUL.
const COMM: usize = 15;

/// Programs by their own names: those that match one of the patterns or are in one of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// Patterns, in the order of the file.
    pub patterns: Vec<Pattern>,
    /// Lists, in the order of the file.
    pub lists: Vec<Arc<List>>,
}

/// A list of programs by their names. Those that end in `.exe` are the same in upper and lower case, as for Windows; all
/// others are compared exactly.
#[derive(Clone, PartialEq, Eq)]
pub struct List {
    name: String,
    /// In lower case.
    windows: Names,
    others: Names,
}

/// Names in order, each once.
#[derive(Clone, Default, PartialEq, Eq)]
struct Names {
    text: Box<str>,
    /// Where each ends in the text, which is where the next begins.
    ends: Box<[u32]>,
}

impl Programs {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.lists.is_empty()
    }

    /// How many patterns and lists there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.patterns.len() + self.lists.len()
    }

    /// Whether `process` is one of them.
    #[must_use]
    pub fn contain(&self, process: &Process) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(process))
            || self.lists.iter().any(|list| list.contains(process))
    }

    /// Whether these certainly contain all of `others`. `false` as well where that is not easily known.
    pub(crate) fn cover(&self, others: &Self) -> bool {
        let pattern = |other: &Pattern| {
            let listed = |list: &Arc<List>| other.name().is_some_and(|name| list.has(name));
            self.patterns.iter().any(|wider| wider.covers(other)) || self.lists.iter().any(listed)
        };
        others.patterns.iter().all(pattern)
            && others.lists.iter().all(|list| self.lists.contains(list))
    }
}

impl From<Vec<Pattern>> for Programs {
    fn from(patterns: Vec<Pattern>) -> Self {
        Self {
            patterns,
            lists: Vec::new(),
        }
    }
}

/// As they are written, with `or` between them.
impl fmt::Display for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.patterns.iter().map(ToString::to_string);
        let lists = self.lists.iter().map(|list| format!("list {}", list.name));
        let all: Vec<String> = patterns.chain(lists).collect();
        f.write_str(&all.join(" or "))
    }
}

impl List {
    /// The list `name` of these names of programs.
    #[must_use]
    pub fn new(name: &str, names: impl IntoIterator<Item = String>) -> Self {
        let (mut windows, mut others) = (Vec::new(), Vec::new());
        for mut name in names {
            if program::is_of_windows(&name) {
                name.make_ascii_lowercase();
                windows.push(name);
            } else {
                others.push(name);
            }
        }
        Self {
            name: name.to_owned(),
            windows: Names::new(windows),
            others: Names::new(others),
        }
    }

    /// The policy's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many names are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.windows.ends.len() + self.others.ends.len()
    }

    /// Whether no name is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one of the names by which the program of `process` is known is in it: the same names that patterns are
    /// compared with. Where the kernel has cut the name off and nothing else begins as that does, a longer name in the
    /// list matches that begins with it.
    #[must_use]
    pub fn contains(&self, process: &Process) -> bool {
        if program::is_kernel_thread(process) {
            return false;
        }
        let names = program::names(process);
        names.into_iter().any(|name| self.has(name)) || {
            let comm = process.comm.as_str();
            let is_whole = |name: &str| name.len() > comm.len() && name.starts_with(comm);
            comm.len() >= COMM && !names.into_iter().any(is_whole) && self.has_longer(comm)
        }
    }

    /// Whether this very name is in it.
    fn has(&self, name: &str) -> bool {
        if program::is_of_windows(name) {
            return self.windows.contain(&name.to_ascii_lowercase());
        }
        self.others.contain(name)
    }

    /// Whether a longer name is in it of which the kernel kept this.
    fn has_longer(&self, comm: &str) -> bool {
        // A character that was cut in two was replaced.
        let begin = comm.trim_end_matches(char::REPLACEMENT_CHARACTER);
        self.others.have_longer(begin) || self.windows.have_longer(&begin.to_ascii_lowercase())
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "List({}, {} names)", self.name, self.len())
    }
}

impl Names {
    fn new(mut names: Vec<String>) -> Self {
        names.sort_unstable();
        names.dedup();
        let ends = names.iter().scan(0_usize, |end, name| {
            *end += name.len();
            Some(*end)
        });
        // What is read is shorter by far than what 32 bits can count.
        let ends = ends.map_while(|end| u32::try_from(end).ok()).collect();
        Self {
            ends,
            text: names.concat().into(),
        }
    }

    fn get(&self, index: usize) -> Option<&str> {
        let end = |index: usize| Some(*self.ends.get(index)? as usize);
        let begin = index.checked_sub(1).map_or(Some(0), end)?;
        self.text.get(begin..end(index)?)
    }

    /// The number of the first name that is not before this one.
    fn first_from(&self, name: &str) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(|there| there < name) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn contain(&self, name: &str) -> bool {
        !name.is_empty() && self.get(self.first_from(name)) == Some(name)
    }

    /// Whether one that is longer begins with this.
    fn have_longer(&self, begin: &str) -> bool {
        let first = self.first_from(begin);
        // It may itself be there; what begins with it comes next.
        [first, first + 1].into_iter().any(|index| {
            self.get(index)
                .is_some_and(|there| there.len() > begin.len() && there.starts_with(begin))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::pattern::tests::process;

    /// Those that these patterns match.
    pub(crate) fn programs(patterns: &[&str]) -> Programs {
        let patterns = patterns
            .iter()
            .map(|text| Pattern::for_processes(text).unwrap());
        patterns.collect::<Vec<_>>().into()
    }

    fn list(names: &[&str]) -> List {
        List::new("games", names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn a_program_is_in_a_list_by_each_of_its_names_and_only_by_a_whole_one() {
        let games = list(&["hl2_linux", "SPEED2.EXE", "Factorio"]);
        assert!(games.contains(&process("hl2_linux", "/opt/hl2/hl2_linux", "./hl2_linux")));
        assert!(games.contains(&process("MainThrd", "/opt/.factorio/Factorio", "x")));
        for name in ["hl2", "hl2_linux2", "factorio", "actorio", ""] {
            assert!(
                !games.contains(&process(name, &format!("/opt/{name}"), name)),
                "{name}"
            );
        }
        let wrapped = process(
            ".hl2_linux-wrap",
            "/nix/store/x/bin/.hl2_linux-wrapped",
            "x",
        );
        assert!(games.contains(&wrapped));
        assert!(
            !games.contains(&process("hl2_linux", "", "")),
            "a kernel thread"
        );
    }

    #[test]
    fn for_programs_of_windows_upper_and_lower_case_are_the_same() {
        let games = list(&["SPEED2.EXE", "portal"]);
        for name in ["SPEED2.EXE", "speed2.exe", "Speed2.Exe"] {
            let argv0 = format!("Z:\\games\\{name}");
            assert!(
                games.contains(&process("wine", "/usr/bin/wine64-preloader", &argv0)),
                "{name}"
            );
        }
        assert!(!games.contains(&process("Portal", "/opt/Portal", "Portal")));
        // Also what wine runs by itself, if somebody lists it.
        assert!(list(&["explorer.exe"]).contains(&process("explorer.exe", "/usr/bin/wine", "")));
    }

    #[test]
    fn a_long_name_is_known_whole_where_it_is_seen_and_else_by_what_the_kernel_kept() {
        let games = list(&["averylonglinuxgame", "AVeryLongWindowsGame.exe"]);
        let whole = process("averylonglinuxg", "/opt/averylonglinuxgame", "x");
        assert!(games.contains(&whole));
        let other = process("averylonglinuxg", "/opt/averylonglinuxgadget", "x");
        assert!(!games.contains(&other), "it is seen to be another one");
        let script = process("averylonglinuxg", "/usr/bin/bash", "/bin/bash");
        assert!(games.contains(&script));
        let argv0 = "Z:\\AVERYLONGWINDOWSGAME.EXE";
        assert!(games.contains(&process("AVERYLONGWINDOW", "/usr/bin/wine", argv0)));
        assert!(games.contains(&process("AVeryLongWindow", "/usr/bin/wine", "wine")));
        // One that fits is not cut off.
        assert!(!list(&["averylonglinux"]).contains(&script));
        assert!(!games.contains(&process("averylonglinux", "/usr/bin/bash", "bash")));
        // 14 bytes and half of a character.
        let cut = process("fourteen-bytes\u{fffd}", "/usr/bin/bash", "bash");
        assert!(list(&["fourteen-bytesä.sh"]).contains(&cut));
    }

    #[test]
    fn twenty_thousand_names_take_little_memory() {
        let names = (0..20_000).map(|number| format!("some-game-of-the-year-{number}.exe"));
        let list = List::new("games", names);
        assert_eq!(list.len(), 20_000);
        let bytes = |names: &Names| names.text.len() + size_of_val(&*names.ends);
        let bytes = bytes(&list.windows) + bytes(&list.others);
        assert!(bytes < 1 << 20, "{bytes} bytes");
        assert!(list.has("Some-Game-Of-The-Year-19999.EXE") && !list.has("20000.exe"));
    }

    #[test]
    fn programs_cover_others_only_if_it_is_certain() {
        let pattern = |text: &str| Pattern::for_processes(text).unwrap();
        let programs = |patterns: &[&str], lists: &[&List]| Programs {
            patterns: patterns.iter().map(|text| pattern(text)).collect(),
            lists: lists.iter().map(|list| Arc::new((*list).clone())).collect(),
        };
        let (games, more) = (list(&["a", "b.exe"]), List::new("more", ["a".to_owned()]));
        assert!(programs(&[], &[&games, &more]).cover(&programs(&["a", "B.EXE"], &[&games])));
        assert!(!programs(&[], &[&games]).cover(&programs(&[], &[&more])));
        assert!(!programs(&[], &[&games]).cover(&programs(&["a*"], &[])));
        assert!(!programs(&[], &[&games]).cover(&programs(&["/a"], &[])));
        assert!(!programs(&["*"], &[]).cover(&programs(&[], &[&games])));
    }

    proptest! {
        #[test]
        fn names_are_found_as_in_a_set(
            names in prop::collection::vec("[ab.]{0,5}", 0..40), others in prop::collection::vec("[ab.]{0,5}", 0..10),
        ) {
            let set: BTreeSet<&String> = names.iter().filter(|name| !name.is_empty()).collect();
            let there = Names::new(names.clone());
            for name in names.iter().chain(&others) {
                prop_assert_eq!(there.contain(name), set.contains(name), "{}", name);
                let longer = set.iter().any(|other| other.len() > name.len() && other.starts_with(name));
                prop_assert!(name.is_empty() || there.have_longer(name) == longer, "{}", name);
            }
        }
    }
}
