//! Lists of programs, in the policy and in files of their own, and programs that do not count.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use auto_ext_policy::{Checked, File, Files, MAX_NAMES, Policy, PolicyError};
use auto_ext_signals::Process;

use crate::errors;

/// A policy at /etc/F with this text, whose lists are in these files.
fn with_files(text: &str, files: &[(&str, &str)]) -> Result<Checked, PolicyError> {
    let files: BTreeMap<String, String> = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    Checked::from_files(Files {
        main: File {
            path: "/etc/F".into(),
            contents: Ok(text.into()),
        },
        parts: Vec::new(),
        read_list: Box::new(move |path: &Path| {
            let text = files.get(path.to_string_lossy().as_ref());
            text.map(|text| text.clone().into_bytes())
                .ok_or_else(|| "there is no such file".to_owned())
        }),
    })
}

/// A policy with these lists and the conditions of one rule.
fn policy(lists: &str, when: &str) -> String {
    format!(
        "version: 1\nlists:\n  {lists}\nrules:\n  - {{class: a, when: {when}, use: [kernel]}}\n"
    )
}

fn process(name: &str) -> Process {
    Process {
        comm: name.chars().take(15).collect(),
        executable: format!("/usr/bin/{name}"),
        ..Process::default()
    }
}

fn wanted(policy: &Policy, names: &[&str]) -> Vec<String> {
    let wanted = names.iter().filter(|name| policy.wants(&process(name)));
    wanted.map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_list_stands_for_its_programs_beside_patterns() {
    let text = policy(
        "games: [hl2_linux, SPEED2.EXE, 7]",
        "{process: ['emu-*', {list: games}]}",
    );
    let policy = Policy::parse("F", &text).unwrap();
    let names = [
        "hl2_linux",
        "speed2.exe",
        "emu-nes",
        "7",
        "Hl2_linux",
        "hl2",
    ];
    assert_eq!(wanted(&policy, &names), names[..4]);
    let only = self::policy("games: [a]", "{process: {list: games}}");
    assert_eq!(
        wanted(&Policy::parse("F", &only).unwrap(), &["a", "b"]),
        ["a"]
    );
}

#[test]
fn a_program_that_is_excepted_does_not_count() {
    let text = policy(
        "{tools: [launcher.exe], games: [portal2]}",
        "{process: ['*.exe', {list: games}], except: [{list: tools}, 'unins*.exe']}",
    );
    let policy = Policy::parse("F", &text).unwrap();
    let names = ["a.exe", "portal2", "Launcher.exe", "UNINS000.exe", "b"];
    assert_eq!(wanted(&policy, &names), names[..2]);
}

#[test]
fn the_names_of_a_file_are_in_its_lines() {
    let text = policy("games: {file: games.txt}", "{process: {list: games}}");
    let names = "\u{feff}# Games\r\nhl2_linux\r\n\r\n  Portal 2.exe  # windows\n#a\nwhat#ever\n";
    let checked = with_files(&text, &[("/etc/games.txt", names)]).unwrap();
    let expected = ["hl2_linux", "portal 2.exe", "what#ever"];
    let names = [&expected[..], &["#a", "a", "Games"]].concat();
    assert_eq!(wanted(&checked.policy, &names), expected);
    let place = &checked.places["lists.games.file"];
    assert_eq!(
        (place.path.as_path(), place.at.line),
        (Path::new("/etc/F"), 3)
    );
    let absolute = text.replace("games.txt", "/srv/games.txt");
    assert!(with_files(&absolute, &[("/srv/games.txt", "a")]).is_ok());
}

#[test]
fn what_is_wrong_with_a_list_is_told_where_it_is() {
    for (lists, when, expected) in [
        (
            "games: a",
            "{process: a}",
            "F:3:10: error: `games` must be a list such as `[hl2_linux, SPEED2.EXE]`, not `a`",
        ),
        (
            "games: [/usr/bin/a]",
            "{process: {list: games}}",
            "F:3:11: error: `/usr/bin/a` is a path, but a list has names of programs; write `a`, or the path as a pattern in a rule's `process`",
        ),
        (
            "games: ['']",
            "{process: {list: games}}",
            "F:3:11: error: a program has no name; remove it",
        ),
        (
            "games: [[a]]",
            "{process: {list: games}}",
            "F:3:11: error: a program must be a name such as `hl2_linux`, not a list",
        ),
        (
            "games: {path: a}",
            "{process: {list: games}}",
            "F:3:11: error: unknown key `path`; valid here: `file`\nF:3:10: error: `file` is missing; add for example `file: games.txt`",
        ),
        (
            "games: [a]",
            "{process: {list: game}}",
            "F:5:39: error: unknown list `game`, did you mean `games`?",
        ),
        (
            "games: [a]",
            "{process: [{list: other}]}",
            "F:5:40: error: unknown list `other`; defined are `games`",
        ),
        (
            "games: [a]",
            "{process: {lists: games}}",
            "F:5:33: error: unknown key `lists`, did you mean `list`?",
        ),
        (
            "games: [a]",
            "{except: {list: games}, power: ac}",
            "F:5:23: error: `except` says which programs of `process` do not count, and `process` is missing; add it, for example `process: \"*.exe\"`",
        ),
        (
            "games: [a]",
            "{cgroup: {list: games}}",
            "F:5:31: error: a pattern must be text such as `*.exe`, not a mapping",
        ),
        (
            "games: [a]",
            "{process: a, except: []}",
            "F:5:43: error: `except` has no pattern; write for example `[steam.exe, launcher.exe]`",
        ),
        (
            "games: {file: a}",
            "{process: {list: games}}",
            "F:3:17: error: the list a cannot be read: other files are not read here",
        ),
    ] {
        let mut lines: Vec<&str> = expected.lines().collect();
        lines.sort_unstable();
        assert_eq!(errors(&policy(lists, when)), lines.join("\n"));
    }
    let none = "version: 1\nrules: [{class: a, when: {process: {list: games}}, use: [kernel]}]\n";
    assert_eq!(
        errors(none),
        "F:2:43: error: unknown list `games`; define it under `lists`"
    );
}

#[test]
fn what_is_wrong_in_the_file_of_a_list_is_told_in_that_file() {
    let text = policy("games: {file: games.txt}", "{process: {list: games}}");
    let error = |names: &str| {
        with_files(&text, &[("/etc/games.txt", names)])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("a\nC:\\b.exe\n"),
        "/etc/games.txt:2:1: error: `C:\\b.exe` is a path, but a list has names of programs; write `b.exe`, or the path as a pattern in a rule's `process`"
    );
    let long = error(&format!("\n{}\n", "a".repeat(256)));
    assert!(
        long.starts_with("/etc/games.txt:2:1: error: a program is longer than 255 bytes:"),
        "{long}"
    );
    let large = error(&"#".repeat((4 << 20) + 1));
    assert!(large.contains("larger than 4 MiB"), "{large}");
    let missing = with_files(&text, &[]).unwrap_err().to_string();
    assert_eq!(
        missing,
        "/etc/F:3:17: error: the list /etc/games.txt cannot be read: there is no such file"
    );
}

#[test]
fn the_names_of_all_lists_together_have_a_limit() {
    let text = policy(
        "{one: {file: one}, two: {file: two}}",
        "{process: [{list: one}, {list: two}]}",
    );
    let names = |count: usize| {
        (0..count)
            .map(|name| format!("{name}\n"))
            .collect::<String>()
    };
    let read = |more: usize| {
        let (one, two) = (names(MAX_NAMES - 10), names(10 + more));
        with_files(&text, &[("/etc/one", &one), ("/etc/two", &two)])
    };
    assert!(read(0).is_ok());
    let error = read(1).unwrap_err().to_string();
    assert_eq!(
        error,
        "/etc/two:11:1: error: there are more than 50000 names in all lists up to here"
    );
    let inline = |count: usize| {
        let names: Vec<String> = (0..count).map(|name| name.to_string()).collect();
        errors(&policy(
            &format!("games: [{}]", names.join(", ")),
            "{process: {list: games}}",
        ))
    };
    assert_eq!(inline(20_000), "");
    assert!(inline(20_001).contains("`games` has more than 20000 items"));
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let text = policy(
        "{games: ['*.exe'], unused: [a]}",
        "{process: {list: games}}",
    );
    let warnings = Checked::parse("F", &text).unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "F:3:12: warning: `*.exe` looks like a pattern, but a list has exact names; write it in a rule's `process`",
        "F:3:22: warning: no rule uses the list `unused`; comment it out or use it",
    ];
    // The first value is between quotes.
    let expected = expected.map(str::to_owned);
    assert_eq!(warnings, expected);
}

#[test]
fn a_rule_is_hidden_by_one_with_the_same_programs_and_no_more_exceptions() {
    for (first, second, hidden) in [
        (
            "{process: {list: games}}",
            "{process: {list: games}, except: a}",
            true,
        ),
        ("{process: {list: games}}", "{process: hl2}", true),
        ("{process: '*', except: a}", "{process: b}", false),
        (
            "{process: '*', except: a}",
            "{process: b, except: [a, c]}",
            true,
        ),
        ("{process: {list: games}}", "{process: portal}", false),
    ] {
        let text = format!(
            "version: 1\nlists: {{games: [hl2]}}\nrules:\n- {{class: a, when: {first}, use: [kernel]}}\n\
             - {{class: b, when: {second}, use: [kernel]}}\n"
        );
        let warnings = Checked::parse("F", &text).unwrap().warnings;
        let warned = warnings
            .iter()
            .any(|warning| warning.to_string().contains("never gets its turn"));
        assert_eq!(warned, hidden, "{first}; {second}");
    }
}

/// A program with ancestors, the nearest first.
fn child(name: &str, ancestors: &[&str]) -> Process {
    Process {
        ancestors: ancestors
            .iter()
            .map(|name| Arc::new(process(name)))
            .collect(),
        ..process(name)
    }
}

#[test]
fn a_program_counts_by_what_started_it() {
    let text = policy(
        "{launchers: [Heroic.EXE, reaper], no-games: [unitycrashhandler64.exe]}",
        "{process: [portal2, {descends: {list: launchers}}, {program: '*.exe', descends: [umu-run]}, \
         {list: no-games, descends: 'x*'}], except: [{list: no-games}, 'steamwebhelper', {descends: gdb}]}",
    );
    let policy = Policy::parse("F", &text).unwrap();
    assert!(policy.asks_about_processes() && policy.asks_about_ancestors());
    for (name, ancestors, wanted) in [
        ("portal2", &["bash"][..], true),
        ("anything", &["proton", "reaper", "steam"], true),
        ("anything", &["heroic.exe"], true),
        ("Game.exe", &["umu-run"], true),
        ("anything", &["umu-run"], false),
        ("reaper", &["steam"], false),
        ("services.exe", &["game.exe", "reaper"], false),
        ("UnityCrashHandler64.exe", &["game.exe", "reaper"], false),
        ("steamwebhelper", &["reaper"], false),
        ("anything", &["reaper", "gdb"], false),
        ("anything", &["steam"], false),
    ] {
        assert_eq!(
            policy.wants(&child(name, ancestors)),
            wanted,
            "{name} {ancestors:?}"
        );
    }
    let shown = policy.rules[0].when.processes.to_string();
    assert_eq!(
        shown,
        "portal2 or descendant of list launchers or *.exe that descends from umu-run or list no-games that \
         descends from x*"
    );
    let without = self::policy("games: [a]", "{process: {list: games}}");
    assert!(!Policy::parse("F", &without).unwrap().asks_about_ancestors());
}

#[test]
fn a_list_of_ancestors_is_used_and_a_rule_below_a_wider_one_is_hidden() {
    let text = "version: 1\nlists: {launchers: [reaper], more: [x]}\nrules:\n\
        \x20 - {class: a, when: {process: {descends: {list: launchers}}}, use: [kernel]}\n\
        \x20 - {class: b, when: {process: {descends: {list: launchers}}, except: {list: more, descends: x}}, use: [kernel]}\n";
    let warnings = Checked::parse("F", text).unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "F:5:5: warning: the rule `b` never gets its turn: `a` on line 4 comes first and matches whenever this one \
             would; move this one up or remove it"
        ]
    );
}

#[test]
fn what_descends_from_many_patterns_is_bounded_too() {
    let patterns: Vec<String> = (0..100).map(|number| format!("p{number}")).collect();
    let item = format!("{{descends: [{0}], program: [{0}]}}", patterns.join(", "));
    let when = format!("{{process: [{item}, {item}, {item}]}}");
    let error = errors(&policy("games: [a]", &when));
    assert!(
        error.contains("there are more than 500 patterns"),
        "{error}"
    );
}
