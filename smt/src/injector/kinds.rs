//! Which injectors there are: a resource and how hard it is loaded, and what does that on a machine.

use std::fmt;

use crate::model::Resource;

use super::level::Level;
use super::load::Load;
#[cfg(target_arch = "x86_64")]
use super::queues;
use super::sizes::Sizes;
use super::{memory, units};

/// What is loaded, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Injector {
    resource: Resource,
    level: Level,
}

/// Why there is no injector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoInjector {
    /// A resource has no such level.
    #[error("{0} has no level {1}")]
    NoLevel(&'static str, Level),
    /// Its size is not known here.
    #[error("the size of {0} is not known for this CPU")]
    UnknownSize(&'static str),
}

impl Injector {
    /// One that loads a resource so hard.
    ///
    /// # Errors
    /// When it has no such level.
    pub fn new(resource: Resource, level: Level) -> Result<Self, NoInjector> {
        if !Level::of(resource).contains(&level) {
            return Err(NoInjector::NoLevel(resource.name(), level));
        }
        Ok(Self { resource, level })
    }

    /// All that there are on a machine of these sizes, by resource and level.
    #[must_use]
    pub fn all(sizes: &Sizes) -> Vec<Self> {
        let of = |resource: Resource| {
            let levels = Level::of(resource).iter();
            levels.map(move |level| Self {
                resource,
                level: *level,
            })
        };
        let all = Resource::ALL.into_iter().flat_map(of);
        all.filter(|injector| injector.load(sizes).is_ok())
            .collect()
    }

    /// What is loaded.
    #[must_use]
    pub fn resource(self) -> Resource {
        self.resource
    }

    /// How hard.
    #[must_use]
    pub fn level(self) -> Level {
        self.level
    }

    /// The place of its level among those of its resource, as measurements have it.
    #[must_use]
    pub fn pressure(self) -> u8 {
        let below = Level::of(self.resource).iter();
        let below = below.take_while(|level| **level < self.level).count();
        u8::try_from(below).expect("there are three levels at most")
    }

    /// What loads it on a machine of these sizes.
    pub(crate) fn load(self, sizes: &Sizes) -> Result<Load, NoInjector> {
        let unknown = NoInjector::UnknownSize(self.resource.name());
        let load = match self.resource {
            Resource::IntPort => Some(units::integers()),
            Resource::FpPort => Some(units::floats()),
            Resource::L1Dcache => memory::cache(sizes.cache(1), self.streams()),
            Resource::L2Cache => memory::cache(sizes.cache(2), self.streams()),
            Resource::L3Cache => memory::cache(sizes.cache(3), self.streams()),
            Resource::L1Dtlb => Some(memory::tlb(sizes.tlb_entries(), self.streams())),
            Resource::IntIsq | Resource::FpIsq | Resource::LoadIsq | Resource::UopCache => {
                self.queue(sizes)
            }
        };
        load.ok_or(unknown)
    }

    fn streams(self) -> usize {
        if self.level == Level::Low { 1 } else { 4 }
    }

    #[cfg(target_arch = "x86_64")]
    fn queue(self, sizes: &Sizes) -> Option<Load> {
        queues::queue(
            self.resource,
            usize::from(self.pressure()),
            sizes.machine()?,
        )
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn queue(self, _sizes: &Sizes) -> Option<Load> {
        None
    }
}

impl fmt::Display for Injector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.name(), self.level)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_resource_has_its_levels_and_no_others() {
        let port = Injector::new(Resource::IntPort, Level::High).unwrap();
        assert_eq!(
            (port.pressure(), port.to_string()),
            (0, "int_port high".to_owned())
        );
        let cache = Injector::new(Resource::L2Cache, Level::High).unwrap();
        assert_eq!(cache.pressure(), 1);
        let queue = Injector::new(Resource::IntIsq, Level::High).unwrap();
        assert_eq!(queue.pressure(), 2);
        let none = Injector::new(Resource::L2Cache, Level::Medium).unwrap_err();
        assert_eq!(none.to_string(), "l2_cache has no level medium");
        assert!(
            Level::ALL
                .iter()
                .all(|level| Level::named(level.name()) == Some(*level))
        );
        assert_eq!(Level::named("most"), None);
    }

    #[test]
    fn without_sizes_there_are_units_and_the_tlb_and_with_all_of_them_every_resource() {
        let names = |sizes: &Sizes| {
            let all = Injector::all(sizes).into_iter();
            let mut names: Vec<&str> = all.map(|one| one.resource().name()).collect();
            names.dedup();
            names
        };
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(
            names(&Sizes::read(nothing.path(), 0)),
            ["int_port", "fp_port", "l1_dtlb"]
        );
        let all = names(&Sizes::read(Path::new("/"), 0));
        for name in ["int_port", "fp_port", "l1_dcache", "l2_cache", "l1_dtlb"] {
            assert!(all.contains(&name), "{all:?}");
        }
    }

    #[test]
    fn each_injector_of_this_machine_comes_to_an_end_each_time() {
        let sizes = Sizes::read(Path::new("/"), 0);
        for injector in Injector::all(&sizes) {
            if injector.resource() != Resource::L3Cache {
                let mut load = injector.load(&sizes).unwrap();
                load();
            }
        }
    }
}
