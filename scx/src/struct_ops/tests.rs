use std::os::unix::fs::symlink;

use super::*;

/// A process in a /proc of a test, which holds what it is given.
pub(crate) struct Process<'p>(&'p Path);

impl Process<'_> {
    /// The process with this number below `root`.
    pub(crate) fn with(root: &Path, pid: u32, file: impl Fn(&Process<'_>)) {
        let path = root.join(pid.to_string());
        for directory in ["fd", "fdinfo", "asked"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        fs::write(path.join("cgroup"), "0::/\n").unwrap();
        file(&Process(&path));
    }

    /// A link of this kind to the map.
    pub(crate) fn link(&self, fd: u32, kind: &str, id: u32, map: u32) {
        let info = format!("pos:\t0\nlink_type:\t{kind}\nlink_id:\t{id}\nmap_id:\t{map}\n");
        self.file(fd, "anon_inode:bpf_link", &info);
    }

    /// A map of operations; `answer` is what the kernel says of it: `scheduler NAME`, `sub`, `other`, or nothing. What
    /// begins with `-` is in nobody else's hands.
    pub(crate) fn map(&self, fd: u32, id: u32, answer: &str) {
        let info = format!("pos:\t0\nmap_type:\t26\nkey_size:\t4\nmap_id:\t{id}\n");
        self.file(fd, "anon_inode:bpf-map", &info);
        fs::write(self.0.join("asked").join(fd.to_string()), answer).unwrap();
    }

    fn file(&self, fd: u32, target: &str, info: &str) {
        let file = self.0.join("fd").join(fd.to_string());
        let _ = fs::remove_file(&file);
        symlink(target, file).unwrap();
        fs::write(self.0.join("fdinfo").join(fd.to_string()), info).unwrap();
    }
}

/// In the kernel's place: what [`Process::map`] was given.
pub(crate) fn answer(process: &Path, fd: RawFd) -> Option<Answer> {
    let text = fs::read_to_string(process.join("asked").join(fd.to_string())).ok()?;
    let (in_use, text) = match text.strip_prefix('-') {
        Some(text) => (false, text),
        None => (true, text.as_str()),
    };
    let operations = match text.split_once(' ') {
        Some(("scheduler", name)) => Operations::Scheduler { name: name.into() },
        _ if text == "sub" => Operations::SubScheduler,
        _ if text == "other" => Operations::Other,
        _ => return None,
    };
    Some(Answer { operations, in_use })
}

#[test]
fn links_and_maps_of_operations_are_found_among_other_files() {
    let root = tempfile::tempdir().unwrap();
    Process::with(root.path(), 7, |process| {
        process.link(3, "tracing", 1, 2);
        process.link(4, "struct_ops", 30, 31);
        process.map(5, 31, "scheduler mine_1.0");
        process.map(6, 32, "other");
        process.link(7, "struct_ops", 40, 41);
        process.file(8, "/dev/null", "pos:\t0\n");
        let array = "map_type:\t2\nmap_id:\t50\n";
        process.file(9, "anon_inode:bpf-map", array);
    });
    let mut held = of_process(&root.path().join("7"), answer);
    held.sort_by_key(|held| held.link);
    let scheduler = Operations::Scheduler {
        name: "mine_1.0".into(),
    };
    let said = |operations| {
        let in_use = true;
        Some(Answer { operations, in_use })
    };
    let expected = [
        (None, said(Operations::Other)),
        (Some(30), said(scheduler)),
        (Some(40), None),
    ];
    let expected = expected.map(|(link, answer)| Held { answer, link });
    assert_eq!(held, expected);
    assert_eq!(held[1].is_scheduler("mine_1.0"), Some(true));
    assert_eq!(held[1].is_scheduler("mine_1"), Some(false));
    assert_eq!(held[0].is_scheduler("mine_1.0"), Some(false));
    assert_eq!(held[2].is_scheduler("mine_1.0"), None);
    assert!(has_link(&root.path().join("7")) && !has_link(&root.path().join("8")));
}

#[test]
fn a_value_says_its_name_and_whether_it_is_of_the_whole_machine() {
    let layout = Layout {
        value: 1,
        name: 16,
        sub_cgroup: Some(8),
    };
    let value = |in_use: u32, cgroup: u64, name: &[u8]| {
        let head = [&in_use.to_ne_bytes()[..], &[0; 4], &cgroup.to_ne_bytes()].concat();
        layout.answer(&[&head, name].concat())
    };
    let answer = |operations, in_use| Some(Answer { operations, in_use });
    let mine = || Operations::Scheduler {
        name: "mine".into(),
    };
    assert_eq!(value(1, 0, b"mine\0rest"), answer(mine(), true));
    assert_eq!(value(0, 1, b"mine\0"), answer(mine(), false));
    assert_eq!(
        value(1, 77, b"mine\0"),
        answer(Operations::SubScheduler, true)
    );
    assert_eq!(layout.answer(&[0; 10]), None, "it is cut off");
}

#[test]
fn what_is_no_file_of_the_process_is_unknown() {
    let this = i32::try_from(std::process::id()).unwrap();
    assert_eq!(of_thread(this, RawFd::MAX), None);
    assert_eq!(of_thread(this, -1), None);
    assert_eq!(of_thread(i32::MAX, 0), None);
    assert_eq!(of_thread(-1, 0), None);
    let file = fs::File::open("/dev/null").unwrap();
    assert_eq!(of_thread(this, file.as_raw_fd()), None);
}
