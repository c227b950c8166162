//! How /proc shows a process.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use auto_ext_signals::{MAX_PROCESSES, Process};

/// The kernel's limit for a path, and ours for a word of a command line, in bytes.
const PATH_MAX: usize = 4096;
/// More than the file for all hierarchies has, of which the last line is ours.
const CGROUP_MAX: usize = 16 * PATH_MAX;

/// Reads what `proc`, which is /proc but for tests, shows of a process. `None` for one that is
/// gone, and for a thread of the kernel.
pub(crate) fn read(proc: &Path, pid: u32) -> Option<Process> {
    let process = proc.join(pid.to_string());
    let comm = text(&bytes(&process.join("comm"), PATH_MAX)?);
    // A first thread that ended before the others has neither any more.
    let (executable, argv0) = program(&process).or_else(|| program(&other_thread(&process)?))?;
    let cgroup = bytes(&process.join("cgroup"), CGROUP_MAX).unwrap_or_default();
    Some(Process {
        pid,
        comm,
        executable,
        argv0,
        cgroup: unified_cgroup(&cgroup),
        ancestors: Vec::new(),
    })
}

/// The number of the process that `proc` shows as the parent of this one: who takes care of it now, which need not be who
/// started it. `None` for one that is gone or has none.
pub(crate) fn parent(proc: &Path, pid: u32) -> Option<u32> {
    let stat = bytes(&proc.join(pid.to_string()).join("stat"), PATH_MAX)?;
    // `PID (comm) state parent ...`; see proc_pid_stat(5). A comm may have brackets in it.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(&stat[end + 1..]).ok()?;
    let parent = fields.split_ascii_whitespace().nth(1)?.parse().ok()?;
    (parent != 0).then_some(parent)
}

/// The numbers of all processes in `proc`, kernel threads included.
pub(crate) fn pids(proc: &Path) -> Vec<u32> {
    numbers(proc).take(MAX_PROCESSES).collect()
}

/// The path of the program and the first word of the command line; `None` when there is neither,
/// as with threads of the kernel and what has ended.
fn program(task: &Path) -> Option<(String, String)> {
    let executable = fs::read_link(task.join("exe")).map(|path| {
        let path = text(path.as_os_str().as_encoded_bytes());
        path.trim_end_matches(" (deleted)").to_owned()
    });
    let command_line = bytes(&task.join("cmdline"), PATH_MAX).unwrap_or_default();
    let first = text(command_line.split(|byte| *byte == 0).next()?);
    match executable {
        Err(_) if first.is_empty() => None,
        executable => {
            let executable = executable.unwrap_or_default();
            let argv0 = without_options(&first, &executable).to_owned();
            Some((executable, argv0))
        }
    }
}

/// The program in the first word of a command line. Chromium and Electron write all of it into that
/// word, joined with blanks, and others what they are doing (`nginx: worker process`, setproctitle(3)):
/// the end of that is no program's name. A path may have blanks itself.
fn without_options<'w>(word: &'w str, executable: &str) -> &'w str {
    let file_name = |path: &str| {
        path.rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let is_it = |path: &str| !executable.is_empty() && file_name(path) == file_name(executable);
    if !executable.is_empty()
        && let Some(rest) = word.strip_prefix(executable)
        && rest.starts_with(' ')
    {
        return &word[..executable.len()];
    }
    if is_it(word) {
        return word;
    }
    let first = word.split(' ').next().unwrap_or_default();
    if is_it(first) {
        return first;
    }
    let options = word
        .match_indices(" -")
        .map(|(at, _)| at)
        // A dash between blanks is part of many a game's name.
        .find(|at| !matches!(word.as_bytes().get(at + 2), None | Some(b' ')));
    let title = word.find(": ");
    let windows = word.to_ascii_lowercase().find(".exe ").map(|at| at + 4);
    let end = [options, title, windows].into_iter().flatten().min();
    &word[..end.unwrap_or(word.len())]
}

/// A thread of the process other than the first.
fn other_thread(process: &Path) -> Option<PathBuf> {
    let tasks = process.join("task");
    let first: u32 = process.file_name()?.to_str()?.parse().ok()?;
    let other = numbers(&tasks).find(|thread: &u32| *thread != first)?;
    Some(tasks.join(other.to_string()))
}

/// The entries of a directory that are numbers.
fn numbers(directory: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The line `0::/path` of /proc/PID/cgroup; see cgroups(7).
fn unified_cgroup(lines: &[u8]) -> String {
    let path = lines
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"));
    text(path.unwrap_or_default())
}

/// The file's first `limit` bytes.
fn bytes(path: &Path, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    // Where it breaks off, what came before is still true.
    file.take(limit as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Bytes as text that is safe to print; see [`Process`].
pub(crate) fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Files, or where they link to when their name is `exe`, below an otherwise empty /proc.
    fn proc_with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, contents) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if path.ends_with("exe") {
                symlink(std::ffi::OsStr::from_bytes(contents), path).unwrap();
            } else {
                fs::write(path, contents).unwrap();
            }
        }
        root
    }

    #[test]
    fn a_process_is_read_from_proc() {
        let root = proc_with(&[
            ("7/comm", b"game.exe\n"),
            ("7/exe", b"/usr/bin/wine64-preloader"),
            ("7/cmdline", b"C:\\games\\game.exe\0-windowed\0"),
            ("7/cgroup", b"1:name=systemd:/x\n0::/user.slice/app.scope\n"),
        ]);
        assert_eq!(
            read(root.path(), 7),
            Some(Process {
                pid: 7,
                comm: "game.exe".into(),
                executable: "/usr/bin/wine64-preloader".into(),
                argv0: "C:\\games\\game.exe".into(),
                cgroup: "/user.slice/app.scope".into(),
                ancestors: Vec::new(),
            })
        );
    }

    #[test]
    fn a_parent_is_told_whatever_its_child_is_called() {
        let root = proc_with(&[
            ("7/stat", b"7 (a) b) S 99 (c) S 5 7 7 0 -1\n"),
            ("8/stat", b"8 (a) R 6 8"),
            ("1/stat", b"1 (systemd) S 0 1"),
            ("9/stat", b"9 (cut"),
        ]);
        let parents = [7, 8, 1, 9, 10].map(|pid| parent(root.path(), pid));
        assert_eq!(parents, [Some(5), Some(6), None, None, None]);
    }

    #[test]
    fn threads_of_the_kernel_and_what_ended_are_no_processes() {
        let root = proc_with(&[
            ("2/comm", b"kthreadd\n"),
            ("2/cmdline", b""),
            ("2/cgroup", b"0::/\n"),
            ("2/task/2/comm", b"kthreadd\n"),
        ]);
        assert_eq!(read(root.path(), 2), None);
        assert_eq!(read(root.path(), 3), None);
    }

    #[test]
    fn a_process_outlives_its_first_thread() {
        let root = proc_with(&[
            ("7/comm", b"main\n"),
            ("7/cmdline", b""),
            ("7/task/7/cmdline", b""),
            ("7/task/9/exe", b"/usr/bin/game"),
            ("7/task/9/cmdline", b"./game\0"),
        ]);
        let process = read(root.path(), 7).unwrap();
        assert_eq!(process.comm, "main");
        assert_eq!(process.executable, "/usr/bin/game");
        assert_eq!(process.argv0, "./game");
    }

    #[test]
    fn what_cannot_be_read_is_empty() {
        let root = proc_with(&[("7/comm", b"a\n"), ("7/cmdline", b"a\0")]);
        let process = read(root.path(), 7).unwrap();
        assert_eq!((process.executable, process.cgroup), <_>::default());

        let root = proc_with(&[("7/comm", b"a\n"), ("7/exe", b"/a")]);
        assert_eq!(read(root.path(), 7).unwrap().argv0, "");
    }

    #[test]
    fn a_program_that_was_replaced_keeps_its_path() {
        let root = proc_with(&[("7/comm", b"a\n"), ("7/exe", b"/usr/bin/a (deleted)")]);
        let process = read(root.path(), 7).unwrap();
        assert_eq!(process.executable, "/usr/bin/a");
    }

    #[test]
    fn the_end_of_a_joined_command_line_is_no_programs_name() {
        let chromium = "/opt/Discord/Discord --type=renderer --last-game=/home/me/launcher.exe";
        for (word, executable, argv0) in [
            (chromium, "/opt/Discord/Discord", "/opt/Discord/Discord"),
            (chromium, "/usr/lib/bugs/Discord", "/opt/Discord/Discord"),
            (
                chromium,
                "/usr/lib/electron/electron",
                "/opt/Discord/Discord",
            ),
            (chromium, "", "/opt/Discord/Discord"),
            ("code file:///home/me/a.exe", "/usr/share/code/code", "code"),
            (
                "/proc/self/exe --type=gpu --x=/a/b.exe",
                "/opt/slack/slack",
                "/proc/self/exe",
            ),
            ("nginx: worker process /a/b.exe", "/usr/sbin/nginx", "nginx"),
            (
                "C:\\a b\\App.EXE /last=C:\\b.exe",
                "/usr/bin/wine64-preloader",
                "C:\\a b\\App.EXE",
            ),
        ] {
            assert_eq!(
                without_options(word, executable),
                argv0,
                "{word}; {executable}"
            );
        }
    }

    #[test]
    fn blanks_in_a_programs_path_belong_to_it() {
        for (word, executable) in [
            ("./pianoteq 6", "/opt/pianoteq 6"),
            (
                "Z:\\My Games\\Foo - Bar\\foo.exe",
                "/usr/bin/wine64-preloader",
            ),
            ("/opt/a -b/foo bar", "/opt/a -b/foo bar"),
            ("C:\\Program Files (x86)\\a.exe", "/usr/bin/wine-preloader"),
            ("", "/usr/bin/a"),
            ("-bash", "/usr/bin/bash"),
        ] {
            assert_eq!(without_options(word, executable), word);
        }
    }

    #[test]
    fn what_processes_choose_is_bounded_and_printable() {
        let long = [b'x'; 10_000];
        let root = proc_with(&[
            ("7/comm", b"a\x1b[31m\xff\n"),
            ("7/exe", b"/tmp/a\nb"),
            ("7/cmdline", &long),
        ]);
        let process = read(root.path(), 7).unwrap();
        assert_eq!(process.comm, "a[31m\u{fffd}");
        assert_eq!(process.executable, "/tmp/ab");
        assert_eq!(process.argv0.len(), 4096);
    }

    #[test]
    fn only_numbers_are_processes() {
        let root = proc_with(&[("7/comm", b""), ("self/comm", b"")]);
        fs::create_dir(root.path().join("-9")).unwrap();
        assert_eq!(pids(root.path()), [7]);
    }
}
