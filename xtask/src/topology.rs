//! Owns how a person says on what the CPUs of a test machine are.

use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail, ensure};

/// How many of each; a machine has all of its sockets alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) sockets: u32,
    /// Of each socket.
    cores: u32,
    /// Of each core.
    pub(crate) threads: u32,
}

/// As many CPUs as are of any use in an emulated machine.
const MAX_CPUS: u32 = 256;

impl Topology {
    /// So many CPUs on one socket, each a core.
    pub(crate) fn of(cpus: u32) -> Self {
        Self {
            cores: cpus,
            ..Self::default()
        }
    }

    /// How many CPUs that are.
    pub(crate) fn cpus(self) -> u32 {
        self.sockets * self.cores * self.threads
    }
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            sockets: 1,
            cores: 1,
            threads: 1,
        }
    }
}

impl FromStr for Topology {
    type Err = Error;

    /// As QEMU has it: `sockets=2,cores=2,threads=1`, where what is left out is 1.
    fn from_str(text: &str) -> Result<Self> {
        let mut topology = Self::default();
        for part in text.split(',') {
            let (name, number) = part.split_once('=').context("expected NAME=NUMBER,...")?;
            let place = match name {
                "sockets" => &mut topology.sockets,
                "cores" => &mut topology.cores,
                "threads" => &mut topology.threads,
                _ => bail!("`{name}` is neither sockets nor cores nor threads"),
            };
            *place = number.parse().context(name.to_owned())?;
            ensure!(
                (1..=MAX_CPUS).contains(place),
                "{name} is not from 1 to {MAX_CPUS}"
            );
        }
        ensure!(
            topology.cpus() <= MAX_CPUS,
            "that is more than {MAX_CPUS} CPUs"
        );
        Ok(topology)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_is_read_as_qemu_has_it() {
        let two: Topology = "sockets=2,cores=2".parse().unwrap();
        assert_eq!((two.sockets, two.threads, two.cpus()), (2, 1, 4));
        assert_eq!("cores=2,threads=2".parse::<Topology>().unwrap().cpus(), 4);
        for wrong in [
            "",
            "2",
            "dies=2",
            "cores=0",
            "cores=x",
            "sockets=64,cores=64",
        ] {
            assert!(wrong.parse::<Topology>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_of_cpus_is_one_socket() {
        let four = Topology::of(4);
        assert_eq!((four.sockets, four.cpus()), (1, 4));
    }
}
