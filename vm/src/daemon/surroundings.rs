//! Who else is at work on this host: a sched_ext scheduler, and services that place or balloon virtual machines.

use std::path::Path;

use auto_ext_service::bounded_file::Root;
use auto_ext_service::sanitize::sanitize;

/// How large a text may be, in bytes, and how many processes are looked at.
const MAX_TEXT: usize = 4096;
const MAX_PROCESSES: usize = 1 << 16;

/// Services that place vCPUs, by the names of their processes.
const PLACE: [&str; 1] = ["numad"];
/// Services that change guests' memory.
const BALLOON: [&str; 2] = ["momd", "pvestatd"];

/// Who else is at work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The sched_ext scheduler that the kernel runs, by its name for it.
    pub scheduler: Option<String>,
    /// Another service that places vCPUs.
    pub places: Option<&'static str>,
    /// Another service that changes guests' memory.
    pub balloons: Option<&'static str>,
}

impl Surroundings {
    /// Those of the machine whose files are below `root`. Looks at all processes.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mut around = Self {
            scheduler: scheduler(root),
            ..Self::default()
        };
        let root = Root::new(root);
        for pid in root.numbers("proc", MAX_PROCESSES).unwrap_or_default() {
            let Some(comm) = root.text(&format!("proc/{pid}/comm"), MAX_TEXT) else {
                continue;
            };
            let named = |names: &[&'static str]| {
                let mut names = names.iter().copied();
                names.find(|name| *name == comm.trim_end())
            };
            around.places = around.places.or_else(|| named(&PLACE));
            around.balloons = around.balloons.or_else(|| named(&BALLOON));
        }
        around
    }
}

/// The sched_ext scheduler that the kernel of the machine whose files are below `root` runs, loads or ends.
#[must_use]
pub(super) fn scheduler(root: &Path) -> Option<String> {
    let root = Root::new(root);
    // A kernel without sched_ext has no such file.
    let state = root.text("sys/kernel/sched_ext/state", MAX_TEXT)?;
    let name = || {
        let name = root.text("sys/kernel/sched_ext/root/ops", MAX_TEXT);
        match sanitize(name.unwrap_or_default().trim()) {
            name if name.is_empty() => "one without a name".to_owned(),
            name => name,
        }
    };
    (state.trim() != "disabled").then(name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_else_is_at_work_is_known_by_name() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Surroundings::read(root.path()), Surroundings::default());
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/1/comm", "systemd\n");
        write("proc/2/comm", "numad\n");
        write("proc/3/comm", "pvestatd\n");
        write("sys/kernel/sched_ext/state", "enabled\n");
        write("sys/kernel/sched_ext/root/ops", "bpfland_1.1\n");
        let around = Surroundings::read(root.path());
        assert_eq!(around.scheduler.as_deref(), Some("bpfland_1.1"));
        assert_eq!(
            (around.places, around.balloons),
            (Some("numad"), Some("pvestatd"))
        );
        write("sys/kernel/sched_ext/state", "disabled\n");
        assert_eq!(scheduler(root.path()), None);
    }
}
