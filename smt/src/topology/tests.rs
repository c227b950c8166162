//! Machines whose facts are kept, and such as are made up.

use std::fs;

use serde_json::Value;

use super::*;

/// The machines whose facts are kept: their names and the facts.
fn machines() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/topology");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (
            name,
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap(),
        )
    };
    paths.iter().map(read).collect()
}

fn siblings(cpu: &Value) -> Option<Cpus> {
    let siblings = cpu.get("siblings")?.as_array()?;
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    Some(siblings.iter().filter_map(number).collect())
}

/// The text that a file had on a machine. Of some, what is online was not kept: there it is what has siblings.
fn text(machine: &Value, path: &str) -> Option<String> {
    let path = path.strip_prefix("sys/devices/system/cpu/")?;
    let kept = machine["files"].get(path).and_then(Value::as_str);
    if let Some(text) = kept.filter(|text| !text.is_empty()) {
        return Some(text.to_owned());
    }
    let cpus = machine["cpus"].as_object().unwrap();
    if path == "online" {
        let known = cpus.iter().filter(|(_, cpu)| siblings(cpu).is_some());
        let online: Cpus = known.map(|(cpu, _)| cpu.parse().unwrap()).collect();
        return Some(List(&online).to_string());
    }
    let (cpu, file) = path.strip_prefix("cpu")?.split_once("/topology/")?;
    match file {
        "thread_siblings_list" => Some(List(&siblings(&cpus[cpu])?).to_string()),
        "physical_package_id" => Some(cpus[cpu].get(file)?.to_string()),
        _ => None,
    }
}

#[test]
fn cores_are_those_of_every_machine_whose_facts_are_kept() {
    let machines = machines();
    assert_eq!(machines.len(), 30);
    for (name, machine) in machines {
        let topology = Topology::from_texts(|path| text(&machine, path)).unwrap();
        let cpus = machine["cpus"].as_object().unwrap().values();
        let pairs: BTreeSet<Cpus> = cpus
            .filter_map(siblings)
            .filter(|siblings| siblings.len() > 1)
            .collect();
        let found = topology.domains.iter().flat_map(|domain| &domain.cores);
        let found: BTreeSet<Cpus> = found.map(|core| core.cpus.clone()).collect();
        assert_eq!(found, pairs, "{name}");
        assert_eq!(topology.cores(), pairs.len(), "{name}");
    }
}

#[test]
fn machines_are_what_their_names_say() {
    let machines: BTreeMap<String, Value> = machines().into_iter().collect();
    let topology = |name: &str| Topology::from_texts(|path| text(&machines[name], path)).unwrap();
    let hybrid = topology("hwloc-20em64t-hybrid-1p6c2t+2ca4co1t");
    // Its eight E cores have no siblings.
    assert_eq!((hybrid.cores(), hybrid.online.len()), (6, 20));
    let smt4 = topology("hwloc-256ppc-8n8s4t");
    assert!(smt4.domains.iter().all(Domain::is_approximate));
    let epyc = topology("ul-x86_64-epyc_7451");
    assert_eq!((epyc.domains.len(), epyc.cores()), (2, 48));
    assert!(!epyc.domains.iter().any(Domain::is_approximate));
    let zero_is_offline = topology("hwloc-offline-cpu0-node0");
    assert_eq!(
        (zero_is_offline.cores(), zero_is_offline.online.len()),
        (0, 17)
    );
}

/// A machine with these lists of siblings and these other files.
fn made(cores: &[&str], files: &[(&str, &str)]) -> Result<Topology, Unknown> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut online = Cpus::new();
    for list in cores {
        let cpus = cpu_list::parse(list).unwrap();
        for cpu in &cpus {
            let path = format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list");
            texts.insert(path, format!("{list}\n"));
        }
        online.extend(cpus);
    }
    texts.insert(format!("{CPUS}/online"), List(&online).to_string());
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    texts.extend(files);
    Topology::from_texts(|path| texts.get(path).cloned())
}

#[test]
fn a_core_with_eight_threads_is_one_core() {
    let topology = made(&["0-7", "8-15"], &[]).unwrap();
    let [domain] = &topology.domains[..] else {
        panic!("{topology:?}");
    };
    assert_eq!((domain.cores.len(), domain.cpus()), (2, 16));
    assert!(domain.is_approximate());
}

#[test]
fn what_is_offline_or_isolated_leaves_no_core_to_share() {
    let online = ("sys/devices/system/cpu/online", "0-2");
    let offline = made(&["0-1", "2-3"], &[online]).unwrap();
    assert_eq!((offline.cores(), offline.online.len()), (1, 3));
    for path in [
        "sys/devices/system/cpu/isolated",
        "sys/devices/system/cpu/nohz_full",
        "sys/fs/cgroup/cpuset.cpus.isolated",
    ] {
        let isolated = made(&["0-1", "2-3"], &[(path, "3\n")]).unwrap();
        assert_eq!(isolated.cores(), 1, "{path}");
    }
    let none = made(
        &["0-1"],
        &[("sys/devices/system/cpu/nohz_full", "  (null)\n")],
    );
    assert_eq!(none.unwrap().cores(), 1);
}

#[test]
fn domains_are_nodes_of_packages() {
    let topology = made(
        &["0,4", "1,5", "2,6", "3,7"],
        &[
            ("sys/devices/system/node/online", "0-1"),
            ("sys/devices/system/node/node0/cpulist", "0-1,4-5"),
            ("sys/devices/system/node/node1/cpulist", "2-3,6-7"),
        ],
    );
    let domains = topology.unwrap().domains;
    let nodes: Vec<_> = domains.iter().map(|domain| domain.place.node).collect();
    assert_eq!(nodes, [Some(0), Some(1)]);
    assert!(domains.iter().all(|domain| domain.cores.len() == 2));
}

#[test]
fn what_sys_contradicts_is_not_guessed() {
    let path = "sys/devices/system/cpu/cpu1/topology/thread_siblings_list";
    let disagree = made(&["0-1", "2-3"], &[(path, "1-2")]);
    assert_eq!(disagree, Err(Unknown::Inconsistent(0)));
    let garbled = made(&["0-1"], &[(path, "zero")]).unwrap_err();
    assert!(
        garbled.to_string().contains("thread_siblings_list"),
        "{garbled}"
    );
    let nothing = Topology::from_texts(|_| None).unwrap_err();
    assert_eq!(
        nothing.to_string(),
        "/sys/devices/system/cpu/online cannot be read"
    );
}

#[test]
fn files_are_read_below_the_root_and_no_further_than_the_limit() {
    let root = tempfile::tempdir().unwrap();
    let cpus = root.path().join(CPUS);
    for cpu in 0..2 {
        let topology = cpus.join(format!("cpu{cpu}/topology"));
        fs::create_dir_all(&topology).unwrap();
        fs::write(topology.join("thread_siblings_list"), "0-1\n").unwrap();
    }
    fs::write(cpus.join("online"), "0-1\n").unwrap();
    assert_eq!(Topology::read(root.path()).unwrap().cores(), 1);
    fs::write(cpus.join("online"), "0,".repeat(MAX_TEXT)).unwrap();
    assert!(matches!(
        Topology::read(root.path()),
        Err(Unknown::Unreadable(_))
    ));
}
