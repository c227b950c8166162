//! Which caller has which hold or lease: both have numbers of one kind and end with their caller.

use std::collections::BTreeMap;

/// How many holds and leases there may be at once, and of one caller.
pub(crate) const MAX_HOLDS: usize = 256;
pub(crate) const MAX_OF_A_CALLER: usize = 8;

/// The callers on the bus that have holds or leases.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    owners: BTreeMap<u32, String>,
    last: u32,
}

impl Holders {
    /// The number of a new hold or lease of `owner`: never 0 and never one in use. `None` when there are [`MAX_HOLDS`] already, or
    /// [`MAX_OF_A_CALLER`] of this owner.
    pub(crate) fn add(&mut self, owner: String) -> Option<u32> {
        let theirs = self.owners.values().filter(|of| **of == owner).count();
        if self.owners.len() >= MAX_HOLDS || theirs >= MAX_OF_A_CALLER {
            return None;
        }
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if !self.owners.contains_key(&self.last) {
                self.owners.insert(self.last, owner);
                return Some(self.last);
            }
        }
    }

    /// Removes this one, if it is one of `owner`.
    pub(crate) fn remove(&mut self, cookie: u32, owner: &str) -> bool {
        let theirs = self.owners.get(&cookie).is_some_and(|of| of == owner);
        if theirs {
            self.owners.remove(&cookie);
        }
        theirs
    }

    /// Removes all and returns their numbers.
    pub(crate) fn clear(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.owners).into_keys().collect()
    }

    /// Removes all of `owner` and returns their numbers.
    pub(crate) fn remove_all(&mut self, owner: &str) -> Vec<u32> {
        let theirs = self.owners.iter().filter(|(_, of)| *of == owner);
        let cookies: Vec<u32> = theirs.map(|(cookie, _)| *cookie).collect();
        for cookie in &cookies {
            self.owners.remove(cookie);
        }
        cookies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hold_has_a_number_of_its_own_and_ends_only_by_its_owner() {
        let mut holders = Holders {
            last: u32::MAX - 1,
            ..Holders::default()
        };
        let cookies: Vec<u32> = (0..4).filter_map(|_| holders.add(":1.7".into())).collect();
        assert_eq!(cookies, [u32::MAX, 1, 2, 3]);
        assert!(!holders.remove(2, ":1.8"));
        assert!(holders.remove(2, ":1.7"));
        assert!(!holders.remove(2, ":1.7"));
        assert_eq!(holders.remove_all(":1.7"), [1, 3, u32::MAX]);
        assert!(holders.clear().is_empty());
    }

    #[test]
    fn holds_are_bounded() {
        let mut holders = Holders::default();
        let added = (0..100).filter_map(|_| holders.add(":1.7".into())).count();
        assert_eq!(added, MAX_OF_A_CALLER);
        let others = (0..1000).filter_map(|caller| holders.add(format!(":2.{caller}")));
        assert_eq!(added + others.count(), MAX_HOLDS);
    }
}
