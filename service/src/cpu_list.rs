//! Sets of CPUs, as the kernel writes them: `0-3,8`.

use std::collections::BTreeSet;
use std::fmt;

/// The numbers of some CPUs.
pub type Cpus = BTreeSet<u32>;

/// No machine that Linux runs on has more CPUs (NR_CPUS in arch/x86/Kconfig).
pub const MAX_CPUS: u32 = 8192;

/// Why a text is no list of CPUs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of CPUs")]
pub struct NoCpuList(String);

/// How much of a wrong text is shown, in characters.
const SHOWN: usize = 40;

/// The CPUs in a list (Documentation/admin-guide/cputopology.rst); none in an empty one.
///
/// # Errors
/// When it is none, or has a number that no CPU has.
pub fn parse(text: &str) -> Result<Cpus, NoCpuList> {
    let wrong = || NoCpuList(text.chars().take(SHOWN).collect());
    let number = |text: &str| {
        let number: u32 = text.parse().map_err(|_| wrong())?;
        (number < MAX_CPUS).then_some(number).ok_or_else(wrong)
    };
    let mut cpus = Cpus::new();
    let list = text.trim_ascii();
    for part in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

/// Shows CPUs as a list.
pub struct List<'c>(pub &'c Cpus);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last + 1) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_has_numbers_and_ranges() {
        assert_eq!(parse("0-2,8\n").unwrap(), Cpus::from([0, 1, 2, 8]));
        assert_eq!(parse("\n").unwrap(), Cpus::new());
        for wrong in [
            "a",
            "1,",
            "3-1",
            "-1",
            "0-8192",
            "0-4294967295",
            "1 2",
            "+1-",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_is_shown(cpus in prop::collection::btree_set(0..MAX_CPUS, 0..50)) {
            prop_assert_eq!(parse(&List(&cpus).to_string()).unwrap(), cpus);
        }
    }
}
