//! How things are of which what is found holds: the machine, the builds of schedulers, how it is powered. For who runs without the
//! daemon, which follows all of that.

use std::path::Path;
use std::time::Duration;

use auto_ext_policy::{Policy, Power, Profile};
use auto_ext_scx::process::executable;
use auto_ext_scx::sysfs;
use auto_ext_trials::Here;
use tokio::time::timeout;
use zbus::Connection;

use super::power::PowerSupplies;
use super::{here, session};

/// How long the system bus may take to answer; then no service says what the power profile is.
const BUS_WITHIN: Duration = Duration::from_secs(5);

/// How things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) here: Here,
    pub(crate) power: Option<Power>,
    pub(crate) profile: Option<Profile>,
}

impl Conditions {
    /// As they are now, with the builds of this policy's schedulers.
    pub(crate) async fn read(policy: &Policy) -> Self {
        let bus = timeout(BUS_WITHIN, Connection::system()).await;
        let profile = match bus.ok().and_then(Result::ok) {
            Some(bus) => session::profile(&bus).await,
            None => None,
        };
        Self {
            here: here_with(policy),
            power: PowerSupplies::below(Path::new("/sys")).read(),
            profile,
        }
    }
}

/// This machine, with the builds of this policy's schedulers.
pub(crate) fn here_with(policy: &Policy) -> Here {
    let root = Path::new("/");
    let find = |command: &str| executable::find(command).ok();
    Here {
        machine: here::machine(sysfs::release(), &here::processor(root), root),
        builds: here::builds(policy, find),
    }
}
