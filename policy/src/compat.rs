//! The section `compat`: whose interfaces auto-ext offers beside its own.

use auto_ext_service::config_file::error::Problems;
use auto_ext_service::config_file::yaml::Node;

/// The keys of the section.
pub(super) const KEYS: [&str; 1] = ["scx_loader"];

/// Interfaces of other services, which their clients go on speaking. By default none is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// org.scx.Loader, which is scx_loader's.
    pub scx_loader: Switch,
}

/// Whether an interface is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    #[default]
    Off,
}

impl Switch {
    /// Both, in the order in which they are listed for people.
    pub const ALL: [Self; 2] = [Self::On, Self::Off];

    /// The name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

pub(super) fn compat(problems: &mut Problems, node: &Node, compat: &mut Compat) {
    let Some(fields) = problems.fields(node, "`compat`", "scx_loader: on", &KEYS) else {
        return;
    };
    if let Some(node) = fields.get("scx_loader")
        && let Some(switch) = problems.choice(node, "`scx_loader`", &Switch::ALL, Switch::name)
    {
        compat.scx_loader = switch;
    }
}
