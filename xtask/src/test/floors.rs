//! Owns the tests of which crate may use which: ARCHITECTURE.md has the picture.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, PackageId};

use crate::workspace;

/// What each crate of the product uses of the others, itself left out; a floor uses only what is below it.
const FLOORS: &[(&str, &[&str])] = &[
    ("service", &[]),
    ("bus", &["service"]),
    ("pages", &[]),
    ("signals", &[]),
    ("policy", &["service", "signals"]),
    ("evidence", &[]),
    ("trials", &["service", "signals", "policy", "evidence"]),
    (
        "core",
        &["service", "signals", "policy", "evidence", "trials"],
    ),
    ("smt", &["service", "bus", "pages"]),
    ("vm", &["service", "bus", "pages"]),
    ("foresight-model", &["service"]),
    ("profiler", &["service", "signals", "profiler-abi"]),
    (
        "scx",
        &["service", "signals", "policy", "evidence", "trials", "core"],
    ),
    (
        "dispatcher",
        &[
            "service", "bus", "pages", "signals", "policy", "evidence", "trials", "core",
            "profiler", "scx",
        ],
    ),
];

/// The crates that decide without asking anybody.
const PURE: [&str; 6] = [
    "signals",
    "policy",
    "evidence",
    "trials",
    "core",
    "foresight-model",
];

/// Of these, what reads and writes for the rest.
const ASKS: [&str; 1] = ["foresight-model/src/disk.rs"];

/// The same of parts of crates that read /sys, /proc or files in others.
const PURE_PARTS: [&str; 8] = [
    "smt/src/model",
    "smt/src/plan",
    "smt/src/trial",
    "smt/src/core",
    "vm/src/cpu",
    "vm/src/memory",
    "vm/src/core",
    "vm/src/simulation",
];

/// What asks the kernel, other processes or the network, or waits for them.
const IMPURE: [&str; 9] = [
    "aya",
    "hyper",
    "notify",
    "procfs",
    "procfs-core",
    "sysinfo",
    "tokio",
    "tracing",
    "zbus",
];

/// By which the standard library does.
const ASKING: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::io",
    "TcpStream",
    "UdpSocket",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
];

/// What each package uses to run, by their numbers.
fn uses(metadata: &Metadata) -> BTreeMap<&PackageId, Vec<&PackageId>> {
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let used = |node: &'_ cargo_metadata::Node| -> Vec<PackageId> {
        let to_run = node.deps.iter().filter(|dependency| {
            let kinds = &dependency.dep_kinds;
            kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
        });
        to_run.map(|dependency| dependency.pkg.clone()).collect()
    };
    let find = |id: &PackageId| {
        nodes
            .iter()
            .find(|node| node.id == *id)
            .map(|node| &node.id)
    };
    nodes
        .iter()
        .map(|node| (&node.id, used(node).iter().filter_map(find).collect()))
        .collect()
}

fn id<'m>(metadata: &'m Metadata, floor: &str) -> &'m PackageId {
    // What belongs to a scheduler is called as that is.
    let names = [format!("auto-ext-{floor}"), floor.to_owned()];
    let mut packages = metadata.packages.iter();
    &packages
        .find(|package| names.contains(&package.name.to_string()))
        .unwrap()
        .id
}

#[test]
fn every_crate_uses_only_what_is_below_it() {
    let metadata = workspace::metadata().unwrap();
    let uses = uses(&metadata);
    for (floor, below) in FLOORS {
        let used: BTreeSet<&str> = uses[id(&metadata, floor)]
            .iter()
            .filter_map(|used| metadata[*used].name.strip_prefix("auto-ext-"))
            .collect();
        let allowed: BTreeSet<&str> = below.iter().copied().collect();
        assert!(used.is_subset(&allowed), "{floor} uses {used:?}");
    }
}

#[test]
fn the_crates_that_decide_ask_nobody() {
    let metadata = workspace::metadata().unwrap();
    let uses = uses(&metadata);
    for floor in PURE {
        let mut seen = BTreeSet::new();
        let mut left = vec![id(&metadata, floor)];
        while let Some(next) = left.pop() {
            if seen.insert(next) {
                left.extend(&uses[next]);
            }
        }
        let names = seen.iter().map(|id| metadata[*id].name.as_str());
        let impure: Vec<&str> = names.filter(|name| IMPURE.contains(name)).collect();
        assert!(impure.is_empty(), "{floor} is built on {impure:?}");
        no_source_asks(&workspace::root().join(floor).join("src"));
    }
    for part in PURE_PARTS {
        no_source_asks(&workspace::root().join(part));
    }
}

/// Tests may; they are at a file's end or in files of their own.
fn no_source_asks(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let asks = ASKS.iter().any(|asking| path.ends_with(asking));
        if asks || path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            no_source_asks(&path);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for asking in ASKING {
            assert!(!code.contains(asking), "{}: {asking}", path.display());
        }
    }
}
