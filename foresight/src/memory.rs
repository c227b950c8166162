//! What outlives the process: what was learned of programs, with which their tasks begin the next time, and the network for moves,
//! in a model file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use auto_ext_service::clock::now_us;
use auto_ext_service::sanitize::sanitize;
use foresight_model::disk::{read_model, write_model};
use foresight_model::file::{Model, Moves, Standing, standing};
use foresight_model::line::Programs;
use foresight_model::origin::{MAX_TEXT, Machine, Origin};
use nix::sys::utsname::uname;

/// What makes files.
pub(crate) const MADE_BY: &str = concat!("scx_foresight ", env!("CARGO_PKG_VERSION"));

/// The model file, and what it is worth here.
pub(crate) struct Memory {
    /// `None` where there can be none, or what is there is not to be replaced.
    place: Option<PathBuf>,
    origin: Origin,
    model: Model,
    is_proven: bool,
}

impl Memory {
    /// Of one that begins with nothing and keeps nothing.
    pub(crate) fn none(origin: Origin) -> Self {
        Self {
            place: None,
            origin,
            model: Model::default(),
            is_proven: true,
        }
    }

    /// Reads the file at `place`, if there is one. Whatever is wrong with it keeps nobody from running: it is said by `complain`,
    /// and the file is left as it is.
    pub(crate) fn read(place: PathBuf, origin: Origin, complain: impl Fn(String)) -> Self {
        let unknown = |place| Self {
            place,
            ..Self::none(origin.clone())
        };
        let model = match read_model(&place) {
            Ok(Some(model)) => model,
            Ok(None) => return unknown(Some(place)),
            Err(error) => {
                complain(error.to_string());
                return unknown(None);
            }
        };
        let standing = standing(&model, &origin.kernel, &origin.machine);
        if let Standing::ShadowOnly(why) = &standing {
            complain(format!(
                "{}: {why}; nothing begins with it",
                place.display()
            ));
        }
        Self {
            place: Some(place),
            origin,
            model,
            is_proven: standing == Standing::Proven,
        }
    }

    /// What is known of programs, and whether tasks begin with it: what was learned elsewhere has to prove itself first.
    pub(crate) fn programs(&self) -> (Programs, bool) {
        (self.model.to_programs(), self.is_proven)
    }

    /// The network for moves, and whether it has proven itself here.
    pub(crate) fn moves(&self) -> Option<(Moves, bool)> {
        let moves = self.model.moves.as_ref();
        moves.map(|moves| (moves.clone(), self.is_proven && moves.holdout.low > 0.0))
    }

    /// The network for moves that the file has now, and whether it has proven itself here.
    pub(crate) fn read_network(&self, complain: impl Fn(String)) -> Option<(Moves, bool)> {
        let place = self.place.clone()?;
        Self::read(place, self.origin.clone(), complain).moves()
    }

    /// Keeps what is known of programs now, and this network, unless that is nothing.
    pub(crate) fn keep(&mut self, programs: &Programs, moves: Option<Moves>) -> Result<()> {
        self.model.moves = moves;
        let groups = programs.iter();
        self.model.programs = groups
            .map(|(name, group)| (name.to_owned(), group.clone()))
            .collect();
        self.model.origin = Origin {
            made_us: now_us(),
            ..self.origin.clone()
        };
        (self.model.shadow_only, self.is_proven) = (false, true);
        match &self.place {
            Some(place) if !self.is_empty() && has_directory(place) => {
                Ok(write_model(place, &self.model)?)
            }
            _ => Ok(()),
        }
    }

    fn is_empty(&self) -> bool {
        self.model.programs.is_empty() && self.model.moves.is_none()
    }
}

fn has_directory(place: &Path) -> bool {
    place.parent().is_some_and(Path::is_dir)
}

/// This program, this kernel and a machine with so many CPUs and last-level caches.
pub(crate) fn origin(cpus: usize, llcs: u32) -> Origin {
    let nodes = fs::read_dir("/sys/devices/system/node")
        .into_iter()
        .flatten();
    let nodes = nodes.flatten().filter(|entry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("node"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    let smt = fs::read_to_string("/sys/devices/system/cpu/smt/active");
    let kernel = uname().map(|names| text(&names.release().to_string_lossy()));
    Origin {
        made_by: MADE_BY.to_owned(),
        made_us: now_us(),
        kernel: kernel.unwrap_or_default(),
        machine: Machine {
            cpu: processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            llcs,
            nodes: u32::try_from(nodes.count()).unwrap_or(u32::MAX),
            smt: smt.is_ok_and(|active| active.trim() == "1"),
        },
    }
}

/// What the first processor is called; nothing where that is not said.
fn processor(cpuinfo: &str) -> String {
    let mut lines = cpuinfo.lines();
    let name = lines.find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(String::new, |(_, name)| text(name))
}

/// As a model file may have it.
fn text(said: &str) -> String {
    let mut text = sanitize(said.trim());
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use foresight_model::file::Holdout;
    use foresight_model::line::Losses;

    use super::*;
    use crate::moves::tests::planted;

    fn learned() -> Programs {
        let mut programs = Programs::default();
        let losses = Losses {
            line: 1.0,
            average: 2.0,
            bursts: 100,
        };
        programs.learn("make", &[0.5; 8], &losses);
        programs
    }

    /// The memory in `directory` of a process under this kernel, and what was complained of.
    fn read(directory: &Path, kernel: &str) -> (Memory, Vec<String>) {
        let complaints: RefCell<Vec<String>> = RefCell::default();
        let complain = |text| complaints.borrow_mut().push(text);
        let mut origin = origin(4, 1);
        origin.kernel = kernel.to_owned();
        let memory = Memory::read(directory.join("model.json"), origin, complain);
        (memory, complaints.into_inner())
    }

    #[test]
    fn what_was_learned_is_there_the_next_time_and_elsewhere_has_to_prove_itself() {
        let directory = tempfile::tempdir().unwrap();
        let (mut first, complaints) = read(directory.path(), "6.18");
        assert!(first.programs().0.prior("make").is_none() && complaints.is_empty());
        first.keep(&learned(), None).unwrap();
        let (second, complaints) = read(directory.path(), "6.18");
        let (programs, begins) = second.programs();
        assert!(begins && complaints.is_empty(), "{complaints:?}");
        assert_eq!(programs.prior("make"), Some([0.5; 8]));
        let (third, complaints) = read(directory.path(), "7.2");
        assert!(!third.programs().1);
        assert!(
            complaints[0].contains("under the kernel 6.18"),
            "{complaints:?}"
        );
    }

    #[test]
    fn a_network_that_has_not_proven_itself_here_is_kept_as_such() {
        let directory = tempfile::tempdir().unwrap();
        let (mut first, _) = read(directory.path(), "6.18");
        assert_eq!(first.moves(), None);
        let nothing = Programs::default();
        first.keep(&nothing, Some(planted(true))).unwrap();
        let (mut same, _) = read(directory.path(), "6.18");
        assert!(same.moves().unwrap().1);
        assert_eq!(same.read_network(drop), same.moves());
        let (other, _) = read(directory.path(), "7.2");
        assert!(!other.moves().unwrap().1);
        assert!(!other.read_network(drop).unwrap().1);
        let mut unproven = planted(true);
        unproven.holdout = Holdout::default();
        same.keep(&nothing, Some(unproven)).unwrap();
        let (again, _) = read(directory.path(), "6.18");
        assert!(!again.moves().unwrap().1);
    }

    #[test]
    fn a_damaged_file_is_said_to_be_one_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("model.json");
        fs::write(&place, "{\"format\":1").unwrap();
        let (mut memory, complaints) = read(directory.path(), "6.18");
        assert!(
            complaints[0].starts_with(&place.display().to_string()),
            "{complaints:?}"
        );
        memory.keep(&learned(), None).unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "{\"format\":1");
    }

    #[test]
    fn where_there_is_no_directory_nothing_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (mut memory, complaints) = read(&directory.path().join("none"), "6.18");
        assert!(complaints.is_empty());
        memory.keep(&learned(), None).unwrap();
    }

    #[test]
    fn a_processor_has_the_name_that_it_says() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC: a\u{7}b\nflags: x\n";
        assert!(processor(cpuinfo).starts_with("AMD EPYC: a"));
        assert_eq!(sanitize(&processor(cpuinfo)), processor(cpuinfo));
        assert_eq!(processor(""), "");
    }
}
