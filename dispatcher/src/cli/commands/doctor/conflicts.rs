//! Other tools on the machine that get in the way of auto-ext, or that it gets in the way of.

use std::fs;
use std::path::{Path, PathBuf};

use auto_ext_scx::foreign::SERVICES;
use auto_ext_service::affinity_owner::{self, AffinityOwner};

/// How deep and how many cgroups are read: slices and services, not everything in a container.
const DEPTH: usize = 3;
const CGROUPS: usize = 2000;

/// Where systemd finds units and what wants them, see systemd.unit(5); in these the administrator's come
/// before the packages'.
const UNIT_DIRECTORIES: [&str; 6] = [
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
const MASKING_DIRECTORIES: [&str; 2] = ["etc/systemd/system", "run/systemd/system"];
/// How many entries of each are read; there are some 400.
const UNITS: usize = 10_000;

/// The service that has groups share cores, by the name under which it says whose processes are.
const SMT: &str = "auto-ext-smt";

/// Each conflict with its remedy, of the machine whose files are below `root`.
pub(super) fn find(root: &Path) -> Vec<String> {
    let mut conflicts = Vec::new();
    let names = process_names(&root.join("proc"));
    let runs = |name: &str| names.iter().any(|other| other == name);
    for service in SERVICES {
        let Some(directory) = wanted_in(root, service) else {
            continue;
        };
        // `disable` does not remove the link of a package or an image.
        let (how, remedy) = if directory.starts_with("etc") {
            (String::new(), "disable --now")
        } else {
            (format!(" (by a link in /{directory})"), "mask --now")
        };
        conflicts.push(format!(
            "{service} is enabled{how} and starts a scheduler of its own, to which auto-ext leaves the machine: \
             systemctl {remedy} {service}, or `foreign: replace` in the policy"
        ));
    }
    if runs("scx_loader") {
        conflicts.push(
            "scx_loader runs; a scheduler that it starts is left alone: systemctl stop scx_loader, or \
             `foreign: replace` in the policy"
                .to_owned(),
        );
    }
    if runs("ananicy-cpp") {
        conflicts.push(
            "ananicy-cpp changes the priorities by which schedulers decide: systemctl disable --now ananicy-cpp"
                .to_owned(),
        );
    }
    if names
        .iter()
        .any(|name| name.starts_with("qemu-system") || name == "kvm")
    {
        conflicts.push(
            "virtual machines run here; scx_lavd is known to make KVM guests stutter: leave it out of the \
             rules, or give virtual machines a rule such as `when: {cgroup: [machine.slice]}`"
                .to_owned(),
        );
    }
    let said = affinity_owner::DIRECTORY.trim_start_matches('/');
    // What cannot be read says nothing.
    let placed = AffinityOwner::new(&root.join(said), SMT).count(root);
    if let Some(count) = placed.ok().filter(|count| *count > 0) {
        conflicts.push(format!(
            "auto-ext-smt has {count} processes run on cores of its choice, and tasks that may not run everywhere have stalled \
             schedulers; it undoes that as one is loaded, unless `with_sched_ext` in /etc/auto-ext/smt.yaml names it: \
             auto-ext-smt pause"
        ));
    }
    let limited = limited_cgroups(&root.join("sys/fs/cgroup"));
    if let Some(first) = limited.first() {
        let count = limited.len();
        conflicts.push(format!(
            "{count} cgroups share the CPU by cpu.max or cpu.weight (such as {first}), which most sched_ext \
             schedulers ignore: give such loads `use: [kernel]` by a rule on their cgroup"
        ));
    }
    conflicts
}

/// The directory in which a link has systemd start `service` with a target or another unit; the
/// administrator's own comes first. `None` also where the service is masked.
fn wanted_in(root: &Path, service: &str) -> Option<String> {
    let masked = |directory: &str| {
        let unit = fs::read_link(root.join(directory).join(service));
        unit.is_ok_and(|target| target == Path::new("/dev/null"))
    };
    if MASKING_DIRECTORIES.into_iter().any(masked) {
        return None;
    }
    UNIT_DIRECTORIES.into_iter().find_map(|directory| {
        let entries = fs::read_dir(root.join(directory)).into_iter().flatten();
        let names = entries
            .take(UNITS)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut wanting =
            names.filter(|name| name.ends_with(".wants") || name.ends_with(".requires"));
        wanting.find_map(|name| {
            let directory = format!("{directory}/{name}");
            let link = root.join(&directory).join(service);
            fs::symlink_metadata(link).is_ok().then_some(directory)
        })
    })
}

fn process_names(proc: &Path) -> Vec<String> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        })
        .filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok())
        .map(|comm| comm.trim_end().to_owned())
        .collect()
}

/// The cgroups below `root` with a limit or a weight of their own.
fn limited_cgroups(root: &Path) -> Vec<String> {
    let mut limited = Vec::new();
    let mut waiting: Vec<(PathBuf, usize)> = vec![(root.to_owned(), 0)];
    let mut seen = 0;
    while let Some((directory, depth)) = waiting.pop() {
        seen += 1;
        if seen > CGROUPS {
            break;
        }
        let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let has_limit = text("cpu.max")
            .split_whitespace()
            .next()
            .is_some_and(|max| max != "max");
        let has_weight = !["", "100"].contains(&text("cpu.weight").trim());
        if depth > 0 && (has_limit || has_weight) {
            let name = directory.strip_prefix(root).unwrap_or(&directory);
            limited.push(format!("/{}", name.display()));
        }
        if depth == DEPTH {
            continue;
        }
        let below = fs::read_dir(&directory).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(below.map(|entry| (entry.path(), depth + 1)));
    }
    limited.sort();
    limited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_machine_without_other_tools_has_no_conflict() {
        let root = machine(&[
            ("proc/1/comm", "systemd\n"),
            ("proc/self/comm", "ananicy-cpp\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/system.slice/cpu.weight", "100\n"),
        ]);
        assert_eq!(find(root.path()), [""; 0]);
    }

    #[test]
    fn processes_that_are_placed_on_cores_are_said_as_long_as_they_run() {
        let stat = format!("7 (a) S {}", "0 ".repeat(18) + "900 0\n");
        let root = machine(&[("proc/7/comm", "a\n"), ("proc/7/stat", &stat)]);
        let said = root.path().join("run/auto-ext/affinity");
        fs::create_dir_all(&said).unwrap();
        std::os::unix::fs::symlink("auto-ext-vm", said.join("7-900")).unwrap();
        std::os::unix::fs::symlink("auto-ext-smt", said.join("8-900")).unwrap();
        assert_eq!(
            find(root.path()),
            [""; 0],
            "another's, and one that has ended"
        );
        fs::remove_file(said.join("7-900")).unwrap();
        std::os::unix::fs::symlink("auto-ext-smt", said.join("7-900")).unwrap();
        let conflicts = find(root.path());
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        assert!(conflicts[0].contains("has 1 processes"), "{conflicts:?}");
    }

    #[test]
    fn each_other_tool_is_named_with_its_remedy() {
        for (path, text, named) in [
            ("proc/7/comm", "ananicy-cpp\n", "disable --now ananicy-cpp"),
            ("proc/7/comm", "scx_loader\n", "stop scx_loader"),
            ("proc/7/comm", "qemu-system-x86\n", "machine.slice"),
            (
                "etc/systemd/system/multi-user.target.wants/scx.service",
                "",
                "disable --now scx.service",
            ),
            (
                "sys/fs/cgroup/system.slice/a.service/cpu.max",
                "50000 100000\n",
                "/system.slice/a.service",
            ),
            (
                "sys/fs/cgroup/user.slice/cpu.weight",
                "200\n",
                "/user.slice",
            ),
        ] {
            let root = machine(&[(path, text)]);
            let conflicts = find(root.path());
            assert_eq!(conflicts.len(), 1, "{conflicts:?}");
            assert!(conflicts[0].contains(named), "{conflicts:?}");
        }
    }

    #[test]
    fn a_service_that_a_package_enables_is_found_unless_it_is_masked() {
        for place in [
            "etc/systemd/system/default.target.wants",
            "run/systemd/system/x.service.requires",
            "usr/lib/systemd/system/multi-user.target.wants",
            "usr/local/lib/systemd/system/graphical.target.wants",
            "lib/systemd/system/basic.target.wants",
        ] {
            let root = machine(&[(&format!("{place}/scx_loader.service"), "")]);
            let conflicts = find(root.path());
            assert_eq!(conflicts.len(), 1, "{place}: {conflicts:?}");
            let by_package = !place.starts_with("etc");
            let remedy = if by_package {
                "mask --now"
            } else {
                "disable --now"
            };
            assert!(
                conflicts[0].contains(&format!("systemctl {remedy} scx_loader")),
                "{conflicts:?}"
            );
            assert_eq!(conflicts[0].contains(place), by_package, "{conflicts:?}");
            if by_package {
                let etc = root.path().join("etc/systemd/system");
                fs::create_dir_all(&etc).unwrap();
                std::os::unix::fs::symlink("/dev/null", etc.join("scx_loader.service")).unwrap();
                assert_eq!(find(root.path()), [""; 0], "{place}");
            }
        }
        let root = machine(&[("usr/lib/systemd/system/scx.service", "")]);
        assert_eq!(find(root.path()), [""; 0], "installed and not enabled");
    }
}
