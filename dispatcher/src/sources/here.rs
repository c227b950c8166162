//! On which machine this is, as far as a scheduler depends on it, and which builds of schedulers' programs it has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use auto_ext_policy::Policy;
use auto_ext_trials::Machine;

/// How long the name of a processor may be, in bytes.
const MAX_NAME: usize = 128;
/// The fields of /proc/cpuinfo that say what a processor is, on x86 and elsewhere.
const MODEL: [&str; 2] = ["model name", "cpu model"];
const PARTS: [&str; 3] = ["CPU implementer", "CPU part", "CPU variant"];

/// The name of the processor; empty where nothing says it. `root` is / but in tests.
pub(crate) fn processor(root: &Path) -> String {
    model(&fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default())
}

/// This machine, of which the kernel's release and the `processor` are known. `root` is / but in tests.
pub(crate) fn machine(kernel: String, processor: &str, root: &Path) -> Machine {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let online = text("sys/devices/system/cpu/online");
    Machine {
        kernel,
        cpu: processor.to_owned(),
        cpus: count(online.trim()),
        smt: text("sys/devices/system/cpu/smt/active").trim() == "1",
    }
}

/// The builds of the policy's schedulers, by their programs. `find` finds the file of a program.
pub(crate) fn builds(
    policy: &Policy,
    find: impl Fn(&str) -> Option<PathBuf>,
) -> BTreeMap<String, String> {
    let mut builds = BTreeMap::new();
    for command in policy.used_schedulers().map(|used| &used.command) {
        if !builds.contains_key(command)
            && let Some(build) = find(command).and_then(|path| build(&path))
        {
            builds.insert(command.clone(), build);
        }
    }
    builds
}

/// By the size of the program's file and the time of its last change.
fn build(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok()?;
    let (size, seconds, ns) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    Some(format!("{size}-{seconds}.{ns:09}"))
}

/// The model of the first processor; empty where nothing says it.
fn model(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(field, _)| field.trim() == name);
        found.map(|(_, value)| value.trim())
    };
    let mut model = match MODEL.into_iter().find_map(field) {
        Some(model) => model.to_owned(),
        None => PARTS
            .into_iter()
            .filter_map(field)
            .collect::<Vec<_>>()
            .join(" "),
    };
    model.retain(|letter| !letter.is_control());
    model.truncate(model.floor_char_boundary(MAX_NAME));
    model
}

/// How many there are in a list such as `0-3,8`.
fn count(list: &str) -> u32 {
    let range = |part: &str| -> Option<u32> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').filter_map(range).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "version: 1\nrules: [{class: a, when: {net: high}, use: [bpfland, kernel], try: [flash]}]\n";

    #[test]
    fn a_machine_is_known_by_what_schedulers_depend_on_and_another_build_is_another_one() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "proc/cpuinfo",
            "processor\t: 0\nmodel\t\t: 97\nmodel name\t: Ryzen\t9\nprocessor\t: 1\nmodel name\t: other\n",
        );
        write("sys/devices/system/cpu/online", "0-3,8\n");
        write("sys/devices/system/cpu/smt/active", "1\n");
        write("bin/scx_flash", "program");
        let policy = Policy::parse("p", POLICY).unwrap();
        let processor = processor(root.path());
        let expected = Machine {
            kernel: "7.2".into(),
            cpu: "Ryzen9".into(),
            cpus: 5,
            smt: true,
        };
        assert_eq!(machine("7.2".into(), &processor, root.path()), expected);
        let builds = || {
            builds(&policy, |command| {
                Some(root.path().join("bin").join(command))
            })
        };
        let first = builds();
        // What is not installed has no build.
        assert_eq!(first.keys().collect::<Vec<_>>(), ["scx_flash"]);
        assert_eq!(builds(), first);
        write("bin/scx_flash", "another program");
        assert_ne!(builds(), first);
    }

    #[test]
    fn where_no_model_is_said_its_parts_are_and_nothing_where_nothing_is() {
        let arm = "processor : 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n";
        assert_eq!(model(arm), "0x41 0xd4f");
        assert_eq!(model(""), "");
        assert_eq!(count(""), 0);
    }
}
