//! What is remembered of programs: by name the mean of their tasks' lines, with which new tasks begin.

use std::collections::HashMap;

use auto_ext_service::sanitize::sanitize;

use super::fit::Losses;
use crate::burst::FEATURES;

/// How many are remembered; then the one that was not seen for longest goes.
pub const MAX_GROUPS: usize = 512;
/// How long a name is at most, in bytes, as the kernel has it (TASK_COMM_LEN, without its end).
pub const MAX_NAME: usize = 15;
/// After how many bursts means forget the oldest.
pub const MEMORY: f64 = 20_000.0;

/// The tasks of one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// The mean of their lines, by bursts.
    pub line: [f64; FEATURES],
    /// How many bursts it was made of.
    pub bursts: u64,
    /// The mean absolute error of lines on bursts that they had not seen.
    pub error: f64,
    /// The same of averages.
    pub average_error: f64,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// With when it was last seen.
    groups: HashMap<String, (Group, u64)>,
    now: u64,
}

impl Group {
    /// Whether its line did better than averages.
    #[must_use]
    pub fn helps(&self) -> bool {
        self.bursts > 0 && self.error < self.average_error
    }

    fn learn(&mut self, line: &[f64; FEATURES], losses: &Losses) {
        let bursts = f64::from(losses.bursts);
        self.bursts = self.bursts.saturating_add(u64::from(losses.bursts));
        #[expect(clippy::cast_precision_loss, reason = "it stops long before")]
        let share = bursts / (self.bursts as f64).min(MEMORY).max(bursts);
        let toward = |mean: &mut f64, value: f64| *mean += (value - *mean) * share;
        for (mean, weight) in self.line.iter_mut().zip(line) {
            toward(mean, *weight);
        }
        toward(&mut self.error, losses.line / bursts);
        toward(&mut self.average_error, losses.average / bursts);
    }
}

impl Programs {
    /// Learns from a task of this name how its line did in a period of at least one burst.
    pub fn learn(&mut self, name: &str, line: &[f64; FEATURES], losses: &Losses) {
        if losses.bursts == 0 {
            return;
        }
        self.touch(name).learn(line, losses);
    }

    /// Takes over what was remembered, as of a file.
    pub fn insert(&mut self, name: &str, group: Group) {
        *self.touch(name) = group;
    }

    /// With what a new task of this name begins, if that helped those before.
    #[must_use]
    pub fn prior(&self, name: &str) -> Option<[f64; FEATURES]> {
        let (group, _) = self.groups.get(&group_name(name))?;
        group.helps().then_some(group.line)
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups
            .iter()
            .map(|(name, (group, _))| (name.as_str(), group))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn touch(&mut self, name: &str) -> &mut Group {
        let name = group_name(name);
        self.now += 1;
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&name) {
            let oldest = self.groups.iter().min_by_key(|(_, (_, seen))| *seen);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.groups.remove(&oldest);
            }
        }
        let entry = self.groups.entry(name).or_default();
        entry.1 = self.now;
        &mut entry.0
    }
}

/// Under which name tasks that are called so are remembered: fit for a terminal, and not longer than [`MAX_NAME`].
#[must_use]
pub fn group_name(comm: &str) -> String {
    let mut name = sanitize(comm);
    name.truncate(name.floor_char_boundary(MAX_NAME));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const WON: Losses = Losses {
        line: 1.0,
        average: 2.0,
        bursts: 10,
    };

    #[test]
    fn the_mean_of_lines_is_by_bursts() {
        let mut programs = Programs::default();
        programs.learn("make", &[1.0; FEATURES], &WON);
        let three = Losses { bursts: 30, ..WON };
        programs.learn("make", &[5.0; FEATURES], &three);
        let prior = programs.prior("make").unwrap();
        assert!(prior.iter().all(|weight| (weight - 4.0).abs() < 1e-9));
        assert_eq!(programs.prior("cc"), None);
    }

    #[test]
    fn what_does_not_help_is_no_prior() {
        let mut programs = Programs::default();
        let lost = Losses { line: 3.0, ..WON };
        programs.learn("make", &[1.0; FEATURES], &lost);
        assert_eq!(programs.prior("make"), None);
    }

    #[test]
    fn the_one_that_was_not_seen_for_longest_goes() {
        let mut programs = Programs::default();
        for number in 0..MAX_GROUPS {
            programs.learn(&number.to_string(), &[1.0; FEATURES], &WON);
        }
        programs.learn("0", &[1.0; FEATURES], &WON);
        programs.learn("one more", &[1.0; FEATURES], &WON);
        assert_eq!(programs.len(), MAX_GROUPS);
        assert!(programs.prior("0").is_some() && programs.prior("one more").is_some());
        assert!(programs.prior("1").is_none());
    }

    #[test]
    fn names_are_cut_between_characters_and_steer_no_terminal() {
        assert_eq!(group_name("a\u{1b}b"), "a\u{fffd}b");
        assert_eq!(group_name(&"\u{1b}".repeat(15)).len(), 15);
        let mut programs = Programs::default();
        programs.learn("aaaaaaaaaaaaaa\u{e9}", &[1.0; FEATURES], &WON);
        assert_eq!(programs.iter().next().map(|(name, _)| name.len()), Some(14));
        assert!(programs.prior("aaaaaaaaaaaaaa\u{e9}").is_some());
    }
}
