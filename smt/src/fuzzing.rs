//! What must hold of every text that /sys and /proc might show; the fuzz target in `fuzz/` calls it. Making up texts is left to
//! `fuzz`.

use crate::groups::stat;
use crate::topology::Topology;
use auto_ext_service::cpu_list::{self, List};

/// The files that are asked for are the lines of `data`, one after the other; an empty line is a file that is missing. What is
/// understood has each CPU in one core at most, and lists are read as they are shown.
pub fn texts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.lines().collect();
    let at = std::cell::Cell::new(0);
    let next = |_: &str| {
        let line = lines.get(at.replace(at.get() + 1))?;
        (!line.is_empty()).then(|| (*line).to_owned())
    };
    match Topology::from_texts(next) {
        Ok(topology) => {
            let cores = topology.domains.iter().flat_map(|domain| &domain.cores);
            let mut seen = cpu_list::Cpus::new();
            for core in cores {
                assert!(core.cpus.len() > 1);
                assert!(core.cpus.is_subset(&topology.online));
                assert!(core.cpus.is_disjoint(&topology.isolated));
                for cpu in &core.cpus {
                    assert!(seen.insert(*cpu), "CPU {cpu} has two cores");
                }
            }
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
    for line in lines {
        if let Ok(cpus) = cpu_list::parse(line) {
            assert_eq!(cpu_list::parse(&List(&cpus).to_string()), Ok(cpus));
        }
        if let Some(stat) = stat(line) {
            assert!(line.contains(&stat.group.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_fuzzing_found_stays_found() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/sys");
        let inputs = fs::read_dir(corpus).unwrap();
        let paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
        assert!(!paths.is_empty());
        for path in paths {
            println!("{}", path.display());
            texts(&fs::read(path).unwrap());
        }
    }
}
