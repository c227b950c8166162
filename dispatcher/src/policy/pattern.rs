//! Patterns for programs and cgroups: what they may look like, and what they match. Pure; which
//! processes there are is found out elsewhere.

use std::fmt;

use auto_ext_profiler::Process;
use glob::Pattern as Glob;

/// The longest name that is compared, in bytes: NAME_MAX of Linux. A process may call itself
/// anything, at any length.
const MAX_NAME: usize = 255;

/// The end of the names of Windows' programs, in lower case.
const WINDOWS: &str = ".exe";

/// What wine starts by itself beside any program, and leaves running. A pattern with wildcards does
/// not mean them; one that is such a name does.
const WINE_SERVICES: [&str; 14] = [
    "conhost.exe",
    "explorer.exe",
    "mscorsvw.exe",
    "plugplay.exe",
    "rpcss.exe",
    "rundll32.exe",
    "services.exe",
    "spoolsv.exe",
    "svchost.exe",
    "tabtip.exe",
    "wineboot.exe",
    "wineconsole.exe",
    "winedevice.exe",
    "winemenubuilder.exe",
];

/// What the kernel adds to the path of a program whose file is gone, as after an update.
const DELETED: &str = " (deleted)";

/// A pattern for processes. `*` stands for any text, `/` in it or not, `?` for one character,
/// `[abc]`, `[a-c]` and `[!a-c]` for one of those or one of all others. Upper and lower case differ,
/// but for patterns of processes that end in `.exe`, as for Windows they do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// In lower case if `windows`.
    glob: Glob,
    subject: Subject,
    /// It is about programs of Windows: it ends in `.exe`.
    windows: bool,
}

/// What of a process a pattern is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// Its name in the kernel (comm), or the file name of its executable or of the first word of
    /// its command line.
    Name,
    /// The path of its executable.
    Path,
    /// One of the names that make up the path of its cgroup.
    CgroupName,
    /// The path of its cgroup, or of one that contains it.
    CgroupPath,
}

/// Why a text is no pattern, and what to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// A bracket without its partner.
    #[error("a `[` in it is never closed; write `[[]` for the character itself")]
    UnclosedBracket,
    /// `**` that is not all there is between two `/`, or `***`.
    #[error("write one `*`, which stands for any text, `/` in it or not")]
    Stars,
    /// It has a `/`, but is not absolute.
    #[error("with a `/` it is compared with a whole path; begin it with `/` or `*`")]
    Relative,
    /// It ends with `/`, as no program does.
    #[error("it ends with `/`, so no program matches it; end it with `/*` for all in a directory")]
    Directory,
    /// It ends with `/`, as no cgroup does.
    #[error("it ends with `/`; leave that out, for what is in a cgroup belongs to it anyway")]
    TrailingSlash,
    /// It looks for a path of Windows.
    #[error("it has a `\\`, but no name of a program has one; write the file name alone")]
    Backslash,
}

impl Pattern {
    /// A pattern for programs. With a `/` it is compared with the path of the executable. Without
    /// one, with the name that the kernel has for the process (cut after 15 bytes), and with the
    /// file names of the executable and of the first word of the command line: for a script the
    /// first of these is that of the script, for a Windows program the last is that of the `.exe`.
    /// A program that Nix or Guix wrapped is known by its name before that, too.
    ///
    /// # Errors
    /// When `text` is no pattern, or is one that no program could match.
    pub fn for_processes(text: &str) -> Result<Self, PatternError> {
        if text.contains('/') {
            if text.ends_with('/') {
                return Err(PatternError::Directory);
            }
            return Self::new(text, text, Subject::Path);
        }
        if text.contains('\\') {
            return Err(PatternError::Backslash);
        }
        Self::new(text, text, Subject::Name)
    }

    /// A pattern for cgroups. With a `/` it is compared with the path from the root of the
    /// hierarchy, such as `/system.slice/ssh.service`, and with that of each cgroup around it.
    /// Without one, with each name in that path.
    ///
    /// # Errors
    /// When `text` is no pattern, or is one that no cgroup could match.
    pub fn for_cgroups(text: &str) -> Result<Self, PatternError> {
        if !text.contains('/') {
            return Self::new(text, text, Subject::CgroupName);
        }
        if text.ends_with('/') {
            return Err(PatternError::TrailingSlash);
        }
        // With a `/` after the path, this is true of a cgroup and of all that are in it.
        Self::new(text, &format!("{text}/*"), Subject::CgroupPath)
    }

    fn new(text: &str, glob: &str, subject: Subject) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.contains('/') && !text.starts_with(['/', '*', '?', '[']) {
            return Err(PatternError::Relative);
        }
        let windows = matches!(subject, Subject::Name | Subject::Path)
            && text.to_ascii_lowercase().ends_with(WINDOWS);
        let glob = if windows {
            glob.to_ascii_lowercase()
        } else {
            glob.to_owned()
        };
        let glob = Glob::new(&glob).map_err(|_| match Glob::new(&glob.replace('*', "x")) {
            Ok(_) => PatternError::Stars,
            Err(_) => PatternError::UnclosedBracket,
        })?;
        Ok(Self {
            text: text.to_owned(),
            glob,
            subject,
            windows,
        })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `process` is one of those that are meant. A kernel thread, which has neither an
    /// executable nor a command line, is no program.
    #[must_use]
    pub fn matches(&self, process: &Process) -> bool {
        let executable = process
            .executable
            .strip_suffix(DELETED)
            .unwrap_or(&process.executable);
        let kernel_thread = executable.is_empty() && process.argv0.is_empty();
        match self.subject {
            Subject::Name | Subject::Path if kernel_thread => false,
            Subject::Name => {
                let file = executable.rsplit('/').next().unwrap_or_default();
                let names = [
                    process.comm.as_str(),
                    file,
                    unwrapped(file),
                    // Programs of Windows, which wine runs, are given with their path there.
                    process.argv0.rsplit(['/', '\\']).next().unwrap_or_default(),
                ];
                names.into_iter().any(|name| self.matches_name(name))
            }
            Subject::Path => self.matches_text(executable),
            Subject::CgroupName => process
                .cgroup
                .split('/')
                .any(|name| self.matches_name(name)),
            Subject::CgroupPath => self.matches_cgroup(&process.cgroup),
        }
    }

    fn matches_name(&self, name: &str) -> bool {
        (1..=MAX_NAME).contains(&name.len()) && self.matches_text(name)
    }

    /// Whether a name or path of a program is meant.
    fn matches_text(&self, text: &str) -> bool {
        if !self.windows {
            return self.glob.matches(text);
        }
        let text = text.to_ascii_lowercase();
        self.glob.matches(&text) && !(self.has_wildcards() && is_wine_service(&text))
    }

    fn has_wildcards(&self) -> bool {
        self.text.contains(['*', '?', '['])
    }

    /// The root, `/`, contains all cgroups and is none of those that a pattern is about.
    fn matches_cgroup(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        !path.is_empty() && self.glob.matches(&format!("{path}/"))
    }

    /// Whether this certainly matches every process that `other` matches. `false` as well where it
    /// would take more than a look to know.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        if self.subject != other.subject {
            return false;
        }
        // That matches what differs from it in case.
        if other.windows && !self.windows && !self.text.bytes().all(|byte| b"*./".contains(&byte)) {
            return false;
        }
        let literal = !other.has_wildcards();
        // Wildcards are matched here as if they were text. If only a `*` can have matched them,
        // then it matches whatever they stand for.
        let only_stars = !self.text.contains(['?', '[']) && !other.text.contains('[');
        let recursive = self.text.contains("**") || other.text.contains("**");
        (literal || (only_stars && !recursive))
            && match self.subject {
                Subject::CgroupPath => self.matches_cgroup(&other.text),
                _ => self.matches_text(&other.text),
            }
    }
}

/// The name of a program before it was wrapped: `.firefox-wrapped`, of Nix, and `.firefox-real`, of
/// Guix, are `firefox`. The wrapper itself, which sets the environment, has that name.
fn unwrapped(file: &str) -> &str {
    let inner = || {
        let inner = file.strip_prefix('.')?.trim_end_matches('_');
        let wrapped = inner.strip_suffix("-wrapped");
        wrapped.or_else(|| inner.strip_suffix("-real"))
    };
    inner().map_or(file, unwrapped)
}

/// Whether a name or path in lower case is that of one of wine's own.
fn is_wine_service(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    WINE_SERVICES.contains(&name)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn process(comm: &str, executable: &str, argv0: &str) -> Process {
        Process {
            pid: 1,
            comm: comm.into(),
            executable: executable.into(),
            argv0: argv0.into(),
            cgroup: String::new(),
        }
    }

    fn matches(pattern: &str, process: &Process) -> bool {
        Pattern::for_processes(pattern).unwrap().matches(process)
    }

    fn cgroup_matches(pattern: &str, cgroup: &str) -> bool {
        let process = Process {
            cgroup: cgroup.into(),
            ..process("a", "/usr/bin/a", "a")
        };
        Pattern::for_cgroups(pattern).unwrap().matches(&process)
    }

    #[test]
    fn a_name_is_looked_for_where_programs_have_names() {
        let game = process(
            "verylonggamenam",
            "/opt/games/verylonggamename",
            "verylonggamename",
        );
        assert!(matches("verylonggamename", &game));
        assert!(matches("verylonggamenam", &game));
        assert!(matches("verylong*", &game));
        assert!(!matches("verylong", &game) && !matches("games", &game));

        let windows = process("Foo.exe", "/usr/bin/wine64-preloader", "Z:\\games\\Foo.exe");
        assert!(matches("*.exe", &windows) && matches("Foo.exe", &windows));

        let script = process("play.sh", "/usr/bin/bash", "/bin/sh");
        for name in ["play.sh", "bash", "sh"] {
            assert!(matches(name, &script), "{name}");
        }
    }

    #[test]
    fn for_programs_of_windows_upper_and_lower_case_are_the_same() {
        let old = process(
            "SPEED2.EXE",
            "/usr/bin/wine-preloader",
            "Z:\\games\\nfsu2\\SPEED2.EXE",
        );
        for pattern in [
            "*.exe",
            "speed2.exe",
            "Speed?.Exe",
            "*.EXE",
            "[R-T]peed2.exe",
        ] {
            assert!(matches(pattern, &old), "{pattern}");
        }
        let path = process("a", "/opt/Game/GAME.EXE", "a");
        assert!(matches("/opt/game/*.exe", &path));
        // All others are programs of Linux.
        assert!(!matches("speed2*", &old) && !matches("WINE-preloader", &old));
        assert!(!matches("*/GAME/*", &path));
    }

    #[test]
    fn what_wine_runs_beside_every_program_is_no_game_unless_it_is_named() {
        for name in [
            "services.exe",
            "winedevice.exe",
            "plugplay.exe",
            "Explorer.EXE",
        ] {
            let argv0 = format!("C:\\windows\\system32\\{name}");
            for executable in ["/usr/bin/wine64-preloader", &format!("/opt/wine/{name}")] {
                let service = process(name, executable, &argv0);
                assert!(!matches("*.exe", &service), "{name}");
                assert!(!matches("*/*.exe", &service), "{name}");
                assert!(matches(&name.to_lowercase(), &service), "{name}");
            }
        }
        // The comm of a long name ends before its `.exe`.
        let builder = process(
            "winemenubuilder",
            "/usr/bin/wine",
            "C:\\windows\\system32\\winemenubuilder.exe",
        );
        assert!(!matches("*.exe", &builder));
    }

    #[test]
    fn a_wrapped_program_is_known_by_its_own_name() {
        for (file, name) in [
            (".firefox-wrapped", "firefox"),
            (".firefox-wrapped_", "firefox"),
            ("..firefox-wrapped-wrapped", "firefox"),
            (".emacs-29.1-real", "emacs-29.1"),
        ] {
            let wrapped = process(&file[..15], &format!("/nix/store/x/bin/{file}"), "x");
            assert!(matches(name, &wrapped) && matches(file, &wrapped), "{file}");
        }
        for file in ["firefox-wrapped", ".firefox", ".-wrapped"] {
            let other = process("x", &format!("/usr/bin/{file}"), "x");
            assert!(!matches("firefox", &other), "{file}");
        }
    }

    #[test]
    fn a_pattern_with_a_slash_is_about_the_path_of_the_executable() {
        let game = process("game", "/home/me/Steam/common/Game/bin/game", "/bin/else");
        assert!(matches("*/Steam/common/*", &game));
        assert!(matches("/home/*/game", &game));
        assert!(!matches("/bin/else", &game) && !matches("*/Steam/common", &game));
    }

    #[test]
    fn an_executable_that_was_replaced_while_it_runs_is_still_itself() {
        let updated = process("x", "/usr/bin/postgres (deleted)", "x");
        assert!(matches("/usr/bin/postgres", &updated));
        assert!(matches("postgres", &updated));
        assert!(!matches("*deleted*", &updated));
    }

    #[test]
    fn a_kernel_thread_is_no_program() {
        let thread = process("kworker/0:1", "", "");
        for pattern in ["*", "kworker*", "*/*", "**"] {
            assert!(!matches(pattern, &thread), "{pattern}");
        }
        assert!(matches("*", &process("a", "", "a")));
    }

    #[test]
    fn a_name_that_no_file_can_have_is_not_compared() {
        let long = "a".repeat(100_000);
        assert!(!matches("a*", &process("", "", &long)));
        assert!(matches("a*", &process("", "", &"a".repeat(255))));
    }

    #[test]
    fn a_cgroup_contains_its_sub_cgroups() {
        let container = "/system.slice/docker-0a1b.scope/init";
        for pattern in [
            "docker-*.scope",
            "init",
            "*",
            "/*",
            "/system.slice",
            "/system.slice/docker-*.scope",
            "*/docker-*",
            "*/docker-0a1b.scope/init",
            "/system.slice/docker-????.scope",
        ] {
            assert!(cgroup_matches(pattern, container), "{pattern}");
        }
        for pattern in [
            "docker-*.service",
            "system",
            "/system",
            "/docker-*",
            "/system.slice/docker-",
            "*/docker-*.scope/*/*",
        ] {
            assert!(!cgroup_matches(pattern, container), "{pattern}");
        }
        let steam = "/user.slice/user-1000.slice/user@1000.service/app.slice/app-steam-1.scope";
        assert!(cgroup_matches("*/app-steam-*", steam));
        assert!(cgroup_matches(
            "app-x\\x2dy.scope",
            "/app.slice/app-x\\x2dy.scope"
        ));
    }

    #[test]
    fn the_root_cgroup_and_an_unknown_one_match_nothing() {
        for cgroup in ["/", ""] {
            for pattern in ["*", "/*", "*/*", "**"] {
                assert!(!cgroup_matches(pattern, cgroup), "{pattern} {cgroup}");
            }
        }
    }

    #[test]
    fn what_could_never_match_is_no_pattern() {
        use PatternError::{
            Backslash, Directory, Empty, Relative, Stars, TrailingSlash, UnclosedBracket,
        };
        for (text, error) in [
            ("", Empty),
            ("a[b", UnclosedBracket),
            ("[]", UnclosedBracket),
            ("[!]", UnclosedBracket),
            ("***", Stars),
            ("a**", Stars),
            ("/a/**b", Stars),
            ("**[ab]", Stars),
            ("bin/a", Relative),
            ("/opt/", Directory),
            ("Z:\\a.exe", Backslash),
        ] {
            assert_eq!(Pattern::for_processes(text), Err(error), "{text}");
        }
        assert_eq!(Pattern::for_cgroups("/a.slice/"), Err(TrailingSlash));
        assert_eq!(Pattern::for_cgroups("/a[/b"), Err(UnclosedBracket));
        assert_eq!(Pattern::for_cgroups("a.slice/b"), Err(Relative));
    }

    #[test]
    fn patterns_are_compared_by_what_they_match() {
        let pattern = |text| Pattern::for_processes(text).unwrap();
        for (wide, narrow) in [
            ("*", "*.exe"),
            ("*.exe", "Foo.exe"),
            ("*o*.exe", "Foo?.exe"),
            ("Foo[12].exe", "Foo1.exe"),
            ("/opt/*", "/opt/games/*/bin"),
        ] {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} {narrow}");
            assert!(!pattern(narrow).covers(&pattern(wide)), "{narrow} {wide}");
        }
        assert!(pattern("*.EXE").covers(&pattern("foo.exe")));
        assert!(pattern("Foo.EXE").covers(&pattern("foo.exe")));
        assert!(!pattern("Foo*").covers(&pattern("Foo.exe")));
        assert!(!pattern("*.exe").covers(&pattern("Services.exe")));
        assert!(!pattern("a?").covers(&pattern("a*")));
        assert!(!pattern("*]").covers(&pattern("[ab]")));
        assert!(!pattern("/a/*/b").covers(&pattern("/a/**/b")));
        let cgroup = |text| Pattern::for_cgroups(text).unwrap();
        assert!(cgroup("/a.slice").covers(&cgroup("/a.slice/*")));
        assert!(!pattern("a").covers(&cgroup("a")));
    }

    proptest! {
        #[test]
        fn what_covers_another_pattern_matches_all_that_it_matches(
            wide in "/?[abA*?/\\[\\]!-]{1,6}(\\.exe)?", narrow in "/?[abA*?/\\[\\]!-]{1,6}(\\.exe)?",
            names in prop::collection::vec(
                "/?[abA*?/\\[\\]!-]{1,6}(\\.exe|\\.EXE)?|services.exe", 1..20,
            ),
        ) {
            for make in [Pattern::for_processes, Pattern::for_cgroups] {
                let (Ok(wide), Ok(narrow)) = (make(&wide), make(&narrow)) else {
                    continue;
                };
                if !wide.covers(&narrow) {
                    continue;
                }
                for name in &names {
                    let process = Process { cgroup: name.clone(), ..process(name, name, "x") };
                    prop_assert!(
                        !narrow.matches(&process) || wide.matches(&process),
                        "{wide} {narrow} {name}",
                    );
                }
            }
        }

        #[test]
        fn no_pattern_and_no_process_make_it_panic(
            text in "[a*?/\\[\\]!-]{0,40}|\\PC{0,40}",
            comm in "\\PC{0,15}", executable in "[a/*]{0,40}", argv0 in "\\PC{0,300}",
        ) {
            let process = Process { cgroup: argv0.clone(), ..process(&comm, &executable, &argv0) };
            for make in [Pattern::for_processes, Pattern::for_cgroups] {
                if let Ok(pattern) = make(&text) {
                    let _ = pattern.matches(&process);
                }
            }
        }
    }
}
