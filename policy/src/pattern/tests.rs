//! What patterns match, and which cover others.

use proptest::prelude::*;

use super::*;

pub(crate) fn process(comm: &str, executable: &str, argv0: &str) -> Process {
    Process {
        pid: 1,
        comm: comm.into(),
        executable: executable.into(),
        argv0: argv0.into(),
        cgroup: String::new(),
        ancestors: Vec::new(),
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
