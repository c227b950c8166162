//! What there is around that keeps groups from being counted or placed: a sched_ext scheduler, which has a mind of its own about
//! cores, and a container, from which not all of the machine is seen.

use std::path::Path;

use auto_ext_service::sanitize::sanitize;

use auto_ext_service::bounded_file::Root;

/// How large a text may be, in bytes.
const MAX_TEXT: usize = 4096;
/// What /proc/self/ns/pid leads to in the first of all PID namespaces (PROC_PID_INIT_INO in include/linux/proc_ns.h).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";
/// What container managers leave in a container.
const MARKS: [&str; 3] = [".dockerenv", "run/.containerenv", "run/systemd/container"];

/// What there is around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The sched_ext scheduler that is enabled, as the kernel calls it.
    pub scheduler: Option<String>,
    /// Not all of the machine is seen.
    pub container: bool,
}

impl Surroundings {
    /// Of the machine whose files are below `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let marked = MARKS.iter().any(|mark| root.join(mark).exists());
        let root = Root::new(root);
        let text = |path: &str| root.text(path, MAX_TEXT);
        let state = text("sys/kernel/sched_ext/state");
        // A kernel without sched_ext has no such file.
        let is_loaded = state.is_some_and(|state| state.trim() != "disabled");
        let name = || {
            let name = text("sys/kernel/sched_ext/root/ops").unwrap_or_default();
            match sanitize(name.trim()) {
                name if name.is_empty() => "one without a name".to_owned(),
                name => name,
            }
        };
        let namespace = root.link("proc/self/ns/pid");
        Self {
            scheduler: is_loaded.then(name),
            container: marked || namespace.is_some_and(|inside| inside != FIRST_NAMESPACE),
        }
    }

    /// What is missing for it, in words; empty where nothing is.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let scheduler = self.scheduler.as_ref().map(|name| {
            format!("a sched_ext scheduler ({name}) runs, which decides itself who shares a core")
        });
        let container = self
            .container
            .then(|| "this is a container, from which not all of the machine is seen".to_owned());
        scheduler.into_iter().chain(container).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn machine(files: &[(&str, &str)], namespace: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let link = root.path().join("proc/self/ns/pid");
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(namespace, link).unwrap();
        root
    }

    const STATE: &str = "sys/kernel/sched_ext/state";

    #[test]
    fn a_machine_by_itself_has_nothing_around() {
        for files in [&[][..], &[(STATE, "disabled\n")]] {
            let root = machine(files, FIRST_NAMESPACE);
            let around = Surroundings::read(root.path());
            assert_eq!(around.missing(), [""; 0], "{around:?}");
        }
    }

    #[test]
    fn a_scheduler_is_named_also_while_it_comes_or_goes() {
        let ops = ("sys/kernel/sched_ext/root/ops", "bpfland_1.1\n");
        let root = machine(&[(STATE, "enabled\n"), ops], FIRST_NAMESPACE);
        let missing = Surroundings::read(root.path()).missing();
        assert!(missing[0].contains("(bpfland_1.1)"), "{missing:?}");
        let root = machine(&[(STATE, "enabling\n")], FIRST_NAMESPACE);
        let missing = Surroundings::read(root.path()).missing();
        assert!(missing[0].contains("without a name"), "{missing:?}");
    }

    #[test]
    fn a_container_is_known_by_its_namespace_or_its_mark() {
        let inside = machine(&[], "pid:[4026532207]");
        assert!(Surroundings::read(inside.path()).container);
        for mark in MARKS {
            let marked = machine(&[(mark, "")], FIRST_NAMESPACE);
            assert!(Surroundings::read(marked.path()).container, "{mark}");
        }
    }
}
