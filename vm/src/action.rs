//! What is to be done to the host.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::snapshot::{GuestId, Mib, VcpuId};
use crate::topology::Cpus;

/// What the host was like before anything was changed, kept over restarts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Originals {
    /// Where each vCPU that was pinned could run.
    pub masks: BTreeMap<VcpuId, Cpus>,
    /// How often each guest spoke whose period was set.
    pub periods: BTreeMap<GuestId, Option<Duration>>,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Keep this over restarts; before whatever comes after it.
    Remember(Originals),
    /// Let this vCPU run on these CPUs alone.
    Pin(VcpuId, Cpus),
    /// Have this guest's balloon leave it so much memory.
    Target(GuestId, Mib),
    /// Have this guest's balloon speak so often; `None`: never.
    Period(GuestId, Option<Duration>),
    /// Tell people.
    Say(Notice),
}

/// What people are told as soon as it is so.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Somebody else pinned this vCPU: it is left to them.
    Yielded(VcpuId),
    /// vCPUs waited longer on their new CPUs: they were put back.
    PutBack(Vec<VcpuId>),
    /// Guests need memory, and nobody can give it.
    HostShort,
    /// vCPUs are only watched from now on, until a person says otherwise.
    CpuObserves(String),
    /// Memory is only watched from now on, until a person says otherwise.
    MemoryObserves(String),
}

impl Notice {
    /// For people. `name` says what a guest is called.
    #[must_use]
    pub fn in_words(&self, name: impl Fn(&GuestId) -> String) -> String {
        let called = |vcpu: &VcpuId| format!("{}/{}", name(&vcpu.guest), vcpu.index);
        match self {
            Self::Yielded(vcpu) => format!("somebody else pinned {}", called(vcpu)),
            Self::PutBack(vcpus) => {
                let vcpus: Vec<_> = vcpus.iter().map(called).collect();
                format!("put back, as they waited longer: {}", vcpus.join(", "))
            }
            Self::HostShort => "guests need memory, and nobody can give it".to_owned(),
            Self::CpuObserves(why) => format!("vCPUs are only watched from now on: {why}"),
            Self::MemoryObserves(why) => format!("memory is only watched from now on: {why}"),
        }
    }
}
