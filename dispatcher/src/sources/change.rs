//! What other services on the bus report.

use auto_ext_policy::Profile;

/// A change that a service reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This power profile is active; `None`: no service says one.
    Profile(Option<Profile>),
    /// The machine is about to sleep or to shut down, if it `begins`; else it woke up, or does neither, which may be
    /// known already.
    Sleep { begins: bool },
}
