//! What a policy file may say, and what a person who got it wrong is told.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use auto_ext_dispatcher::known;
use auto_ext_dispatcher::policy::{Candidate, Policy, Scheduler, Stability};
use auto_ext_profiler::{Level, Levels, Signal, Thresholds};
use proptest::prelude::*;

const SHIPPED: &str = include_str!("../../../policies.yaml");
const CONTRACT: &str = include_str!("files/contract.yaml");
const MANY_PROBLEMS: &str = include_str!("files/many-problems.yaml");

/// What is said about `text` as the file `F`; empty if it is valid.
fn errors(text: &str) -> String {
    Policy::parse("F", text)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

/// Checks cases of the form TEXT, a line `----`, ERRORS, separated by lines `====`.
fn check(cases: &str) {
    for case in cases.trim_end().split("\n====\n") {
        let (text, expected) = case
            .rsplit_once("\n----\n")
            .expect("a case has a line `----`");
        assert_eq!(errors(&format!("{text}\n")), expected, "for:\n{text}");
    }
}

/// A policy with `lines` before its one rule.
fn with(lines: &str) -> String {
    format!("version: 1\n{lines}\nrules: [{{class: idle, use: [kernel]}}]\n")
}

/// `Policy::load` of `path`, which must answer within ten seconds.
fn load_errors(path: &Path) -> String {
    let (sender, receiver) = mpsc::channel();
    let owned = path.to_owned();
    std::thread::spawn(move || {
        let error = Policy::load(owned).err();
        sender.send(error.map(|error| error.to_string()).unwrap_or_default())
    });
    let error = receiver
        .recv_timeout(Duration::from_secs(10))
        .expect("load must never hang");
    let shown = path.display().to_string();
    error.replace(&shown, "F")
}

#[test]
fn the_shipped_policy_has_seven_classes_that_all_end_in_the_kernel() {
    let policy = Policy::load(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies.yaml")).unwrap();
    let classes: Vec<_> = policy
        .rules
        .iter()
        .map(|rule| rule.class.as_str())
        .collect();
    let expected = [
        "network",
        "io",
        "memory",
        "parallel",
        "interactive",
        "cpu",
        "idle",
    ];
    assert_eq!(classes, expected);
    for rule in &policy.rules {
        assert_eq!(
            rule.candidates.last(),
            Some(&Candidate::Kernel),
            "{}",
            rule.class
        );
    }
    assert_eq!(policy.window, Duration::from_millis(250));
    assert_eq!(policy.signals, Thresholds::default());
    assert_eq!(policy.stability, Stability::default());
    assert_eq!(policy.stability.min_run, Duration::from_secs(15));
    assert_eq!(policy.stability.settle, Duration::from_millis(500));
    assert_eq!(policy.stability.max_switches_per_hour, 30);
}

#[test]
fn the_shipped_policy_picks_by_itself_only_what_is_fit_for_it() {
    let policy = Policy::parse("F", SHIPPED).unwrap();
    for candidate in policy.rules.iter().flat_map(|rule| &rule.candidates) {
        if let Candidate::Scheduler(scheduler) = candidate {
            let known = known::by_name(&scheduler.command).unwrap();
            assert!(known.automatic, "{}", known.command);
        }
    }
}

#[test]
fn the_comments_of_the_shipped_policy_tell_the_truth() {
    let shown: String = SHIPPED
        .lines()
        .filter_map(|line| line.strip_prefix("  # "))
        .filter(|line| line.contains("settle: "))
        .map(|line| format!("  {line}\n"))
        .collect();
    assert_eq!(shown.lines().count(), Signal::ALL.len());
    let policy = Policy::parse("F", &with(&format!("signals:\n{shown}"))).unwrap();
    assert_eq!(policy.signals, Thresholds::default());
    for known in known::ALL {
        let name = known.name();
        assert!(SHIPPED.contains(&format!(" {name},")) || SHIPPED.contains(&format!(" {name}.")));
    }
}

#[test]
fn every_example_in_the_shipped_policy_can_be_used_as_a_candidate() {
    for (trial, binary) in [
        ("bpfland-throughput", "scx_bpfland"),
        ("bpfland-powersave", "scx_bpfland"),
        ("lavd-performance", "scx_lavd"),
        ("lavd-server", "scx_lavd"),
        ("beerland", "scx_beerland"),
        ("flash", "scx_flash"),
    ] {
        assert!(SHIPPED.contains(trial), "{trial}");
        let text = SHIPPED.replace("use: [kernel]", &format!("use: [{trial}, kernel]"));
        let policy = Policy::parse("F", &text).unwrap();
        let Candidate::Scheduler(scheduler) = &policy.rules.last().unwrap().candidates[0] else {
            panic!("{trial} is not a scheduler");
        };
        assert_eq!(scheduler.command, binary);
    }
}

#[test]
fn the_example_of_the_contract_means_what_it_says() {
    let policy = Policy::parse("F", CONTRACT).unwrap();
    let cpu = policy.signals.get(Signal::Cpu);
    assert_eq!(
        (cpu.high, cpu.low, cpu.settle),
        (0.75, 0.55, Duration::from_secs(1))
    );
    assert_eq!(
        policy.signals.get(Signal::Io),
        Thresholds::default().get(Signal::Io)
    );
    assert_eq!(policy.schedulers["bpfland"].args, [""; 0]);
    assert_eq!(
        policy.schedulers["bpfland-low-latency"].args,
        ["-m", "performance", "-w"]
    );
    let game = &policy.rules[0];
    assert_eq!(
        game.levels,
        [
            (Signal::Interactive, Level::High),
            (Signal::Cpu, Level::Low)
        ]
    );
    let names: Vec<_> = game.candidates.iter().map(Candidate::name).collect();
    assert_eq!(names, ["lavd", "bpfland-low-latency", "kernel"]);
    let lavd = Scheduler {
        name: "lavd".into(),
        command: "scx_lavd".into(),
        args: vec![],
    };
    assert_eq!(game.candidates[0], Candidate::Scheduler(lavd));
    assert_eq!(policy.stability.settle, Duration::from_secs(1));
}

#[test]
fn the_first_rule_whose_conditions_all_hold_wins() {
    let policy = Policy::parse("F", CONTRACT).unwrap();
    let mut levels = Levels::all(Level::Low);
    let class = |levels: &Levels| policy.rule_for(levels).unwrap().class.clone();
    assert_eq!(class(&levels), "idle");
    levels.set(Signal::Net, Level::High);
    assert_eq!(class(&levels), "network");
    levels.set(Signal::Interactive, Level::High);
    assert_eq!(class(&levels), "game");
    levels.set(Signal::Cpu, Level::High);
    assert_eq!(class(&levels), "network");
}

#[test]
fn a_level_that_is_unknown_is_neither_high_nor_low() {
    let text = "version: 1\nrules:\n  - {class: a, when: {cpu: high}, use: [kernel]}\n  - {class: b, when: {cpu: low}, use: [kernel]}\n";
    let policy = Policy::parse("F", text).unwrap();
    assert_eq!(
        policy.rule_for(&Levels::all(Level::High)).unwrap().class,
        "a"
    );
    assert_eq!(
        policy.rule_for(&Levels::all(Level::Low)).unwrap().class,
        "b"
    );
    assert_eq!(policy.rule_for(&Levels::all(Level::Unknown)), None);
}

#[test]
fn the_default_policy_never_picks_anything() {
    for level in [Level::High, Level::Low, Level::Unknown] {
        assert_eq!(Policy::default().rule_for(&Levels::all(level)), None);
    }
}

#[test]
fn arguments_are_text_exactly_as_written() {
    let args = "[-s, 20000, 0x10, 1_000, 1e3, 007, 1.50, yes, 'a b', '-s 1', '', '-']";
    let line = format!("schedulers: {{x: {{command: scx_bpfland, args: {args}}}}}");
    let policy = Policy::parse("F", &with(&line)).unwrap();
    let expected = [
        "-s", "20000", "0x10", "1_000", "1e3", "007", "1.50", "yes", "a b", "-s 1", "", "-",
    ];
    assert_eq!(policy.schedulers["x"].args, expected);
}

#[test]
fn a_name_in_use_is_the_policys_own_before_it_is_a_known_one() {
    let text = "version: 1
schedulers: {bpfland: {command: scx_bpfland, args: [-w]}, mine: {command: /opt/mine}}
rules: [{class: idle, use: [bpfland, scx_bpfland, mine, scx_lavd, lavd]}]
";
    let policy = Policy::parse("F", text).unwrap();
    let shown: Vec<_> = policy.rules[0]
        .candidates
        .iter()
        .map(|candidate| match candidate {
            Candidate::Kernel => panic!("not asked for"),
            Candidate::Scheduler(s) => format!("{} {} {:?}", s.name, s.command, s.args),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "bpfland scx_bpfland [\"-w\"]",
            "bpfland scx_bpfland [\"-w\"]",
            "mine /opt/mine []",
            "lavd scx_lavd []",
            "lavd scx_lavd []"
        ]
    );
}

#[test]
fn sections_whose_lines_are_all_commented_out_have_their_defaults() {
    let policy = Policy::parse("F", &with("signals:\nschedulers: ~\nstability:")).unwrap();
    assert_eq!(
        Policy {
            rules: vec![],
            ..policy
        },
        Policy::default()
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_no_problem() {
    let text = format!("\u{feff}{}", CONTRACT.replace('\n', "\r\n"));
    assert_eq!(Policy::parse("F", &text), Policy::parse("F", CONTRACT));
}

#[test]
fn a_file_that_is_no_policy_at_all_is_told_why() {
    check(include_str!("files/errors/file.txt"));
}

#[test]
fn values_of_the_wrong_type_or_out_of_range_are_told_what_is_right() {
    check(include_str!("files/errors/sections.txt"));
}

#[test]
fn schedulers_that_could_not_be_run_are_told_how_to_write_them() {
    check(include_str!("files/errors/schedulers.txt"));
}

#[test]
fn rules_that_lack_something_or_ask_for_what_is_not_there_are_told_so() {
    check(include_str!("files/errors/rules.txt"));
}

#[test]
fn all_independent_problems_are_reported_at_once_in_the_order_of_the_file() {
    let expected = include_str!("files/many-problems.txt");
    assert_eq!(errors(MANY_PROBLEMS), expected.trim_end());
}

#[test]
fn what_an_editor_does_not_show_is_named() {
    let empty = "F:1:1: error: the file is empty; a policy needs at least `version: 1` and `rules`";
    let tab = "error: a tab indents this line; YAML wants spaces";
    let control = "error: a control character stands here; remove it";
    let escaped = "error: `command` contains a control character or a line break:";
    for (text, expected) in [
        ("", empty.to_owned()),
        (" \n\t\n", empty.to_owned()),
        ("\tversion: 1\n", format!("F:1:1: {tab}")),
        (
            "version: 1\nrules:\n\t- class: a\n",
            format!("F:3:1: {tab}"),
        ),
        (
            "version: 1\nsignals:\n  cpu:\n  \t high: 1\n",
            format!("F:4:3: {tab}"),
        ),
        (
            "version: 1\nwindow: 250ms\0\n",
            format!("F:2:14: {control}"),
        ),
        (
            "version: 1\nwindow: \x1b[31m\n",
            format!("F:2:9: {control}"),
        ),
        (
            &with(r#"schedulers: {x: {command: "scx_a\0"}}"#),
            format!("F:2:27: {escaped} `scx_a\\0`"),
        ),
        (
            &with(r#"schedulers: {x: {command: "scx_a\e[2J"}}"#),
            format!("F:2:27: {escaped} `scx_a\\u{{1b}}[2J`"),
        ),
        (
            &with("schedulers: {x: {command: \"\\u202escx\"}}"),
            "F:2:27: error: `\\u{202e}scx` does not begin with `scx_`, as schedulers do; \
             write such a name or an absolute path"
                .to_owned(),
        ),
    ] {
        assert_eq!(errors(text), expected, "for: {text:?}");
    }
}

#[test]
fn columns_count_characters_not_bytes() {
    let text = "version: 1\nrules: [{class: 'ä', use: [kernel]}, {class: b, use: [kernal]}]\n";
    let error = Policy::parse("F", text).unwrap_err();
    let columns: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| problem.at.column)
        .collect();
    assert_eq!(columns, [17, 55]);
}

/// A policy in which something has the given size.
type TextOfSize<'a> = &'a dyn Fn(usize) -> String;

#[test]
fn everything_has_a_limit_and_the_limit_itself_is_allowed() {
    let repeat = |count: usize, item: &dyn Fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(", ")
    };
    let rule = |use_: &str| format!("version: 1\nrules: [{{class: a, use: [{use_}]}}]\n");
    let args = |args: &str| {
        with(&format!(
            "schedulers: {{x: {{command: scx_a, args: [{args}]}}}}"
        ))
    };
    let command = |command: &str| with(&format!("schedulers: {{x: {{command: {command}}}}}"));
    let rules = |count| {
        let rules = repeat(count, &|index| {
            format!("{{class: c{index}, use: [kernel]}}")
        });
        format!("version: 1\nrules:\n  [{rules}]\n")
    };
    let schedulers = |count| {
        with(&format!(
            "schedulers: {{{}}}",
            repeat(count, &|i| format!("s{i}: {{command: scx_a}}"))
        ))
    };
    let limits: [(&str, TextOfSize<'_>, usize); 9] = [
        ("`rules` has more than 100 items", &rules, 100),
        ("there are more than 100 schedulers", &schedulers, 100),
        (
            "`use` has more than 16 items",
            &|n| rule(&repeat(n, &|_| "kernel".into())),
            16,
        ),
        (
            "`args` has more than 64 items",
            &|n| args(&repeat(n, &|_| "-v".into())),
            64,
        ),
        (
            "an argument is longer than 1024 bytes",
            &|n| args(&"a".repeat(n)),
            1024,
        ),
        (
            "longer than 255 bytes",
            &|n| command(&format!("scx_{}", "a".repeat(n - 4))),
            255,
        ),
        (
            "longer than 4095 bytes",
            &|n| command(&format!("/{}", "a".repeat(n - 1))),
            4095,
        ),
        (
            "cannot be the name of a scheduler",
            &|n| {
                with(&format!(
                    "schedulers: {{{}: {{command: scx_a}}}}",
                    "a".repeat(n)
                ))
            },
            64,
        ),
        (
            "cannot be the name of a class",
            &|n| {
                format!(
                    "version: 1\nrules: [{{class: {}, use: [kernel]}}]\n",
                    "a".repeat(n)
                )
            },
            64,
        ),
    ];
    for (message, text, limit) in limits {
        assert_eq!(errors(&text(limit)), "", "{message}");
        let error = errors(&text(limit + 1));
        assert!(error.contains(message), "{message}: {error}");
        assert!(
            error.len() < 300 && error.lines().count() == 1,
            "{message}: {error}"
        );
    }
}

#[test]
fn the_bounds_of_every_range_are_allowed() {
    for line in [
        "window: 50ms",
        "window: 10s",
        "signals: {cpu: {high: 1, low: 0, settle: 0s}}",
        "signals: {parallel: {high: 1000, low: 999.5, settle: 60s}}",
        "stability: {min_run: 0s, settle: 0s, max_switches_per_hour: 2}",
        "stability: {min_run: 1h, settle: 1m, max_switches_per_hour: 3600}",
    ] {
        assert_eq!(errors(&with(line)), "", "{line}");
    }
}

#[test]
fn of_a_thousand_problems_the_first_hundred_are_told() {
    let text = with(
        &(0..1000)
            .map(|n| format!("nonsense{n}: 1\n"))
            .collect::<String>(),
    );
    let shown = errors(&text);
    assert_eq!(shown.lines().count(), 101);
    assert!(
        shown.starts_with("F:2:1: error: unknown key `nonsense0`;"),
        "{shown}"
    );
    assert!(shown.ends_with("\nF: and 900 more errors"), "{shown}");
}

#[test]
fn an_alias_bomb_is_refused_at_its_first_anchor() {
    let mut bomb = String::from("version: 1\na: &a [x, x, x, x, x, x, x, x, x]\n");
    for (name, previous) in ('b'..='z').zip('a'..) {
        let aliases = vec![format!("*{previous}"); 9].join(", ");
        bomb.push_str(&format!("{name}: &{name} [{aliases}]\n"));
    }
    assert!(errors(&bomb).starts_with("F:2:4: error: `&a` is a YAML anchor,"));
}

#[test]
fn a_document_that_nests_too_deep_is_refused_however_it_is_written() {
    let message = "lists and mappings nest too deep here; a policy needs six levels";
    let stairs: String = (0..500)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        stairs,
    ] {
        let error = errors(&text);
        assert!(error.ends_with(message), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    assert!(errors(&"? ".repeat(100_000)).ends_with(message));
}

#[test]
fn a_text_with_too_many_values_is_refused() {
    let error = errors(&format!("version: 1\nrules: [{}]\n", "a,".repeat(100_000)));
    assert!(
        error.ends_with("there are more than 32768 keys and values up to here"),
        "{error}"
    );
}

#[test]
fn a_file_of_ten_megabytes_is_refused_unread_and_one_of_a_mebibyte_is_read() {
    let message =
        "F:1:1: error: the file is larger than 1 MiB, which no policy needs; is it the right file?";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.yaml");
    std::fs::write(&path, "#".repeat(10_000_000)).unwrap();
    assert_eq!(load_errors(&path), message);
    assert_eq!(errors(&"#".repeat(10_000_000)), message);

    let comment = "#".repeat((1 << 20) - CONTRACT.len());
    std::fs::write(&path, format!("{CONTRACT}{comment}")).unwrap();
    assert_eq!(Policy::load(&path), Policy::parse(&path, CONTRACT));
    std::fs::write(&path, format!("{CONTRACT}{comment}#")).unwrap();
    assert_eq!(load_errors(&path), message);
}

#[test]
fn a_file_that_is_not_utf8_is_told_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.yaml");
    for (bytes, expected) in [
        (
            &b"version: 1\n# caf\xe9\n"[..],
            "F:2:6: error: byte 0xe9 is not UTF-8 text",
        ),
        (
            b"\xff\xfev\0e\0r\0",
            "F:1:1: error: byte 0xff is not UTF-8 text",
        ),
        (
            b"# \xc3\xa4\xc3",
            "F:1:4: error: byte 0xc3 is not UTF-8 text",
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(
            load_errors(&path),
            format!("{expected}; save the file as UTF-8")
        );
    }
}

#[test]
fn what_is_not_a_regular_file_is_named_and_never_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    std::os::unix::fs::symlink(path("fifo"), path("link")).unwrap();
    for (path, what) in [
        (path("fifo"), "a named pipe"),
        (path("link"), "a named pipe"),
        (path("socket"), "a socket"),
        (path(""), "a directory"),
        ("/dev/zero".into(), "a device"),
    ] {
        let expected = format!("F:1:1: error: this is {what}; a policy must be a regular file");
        assert_eq!(load_errors(&path), expected);
    }
    let missing = "F:1:1: error: cannot read the policy: there is no such file";
    assert_eq!(load_errors(&path("missing")), missing);
}

/// Checks that `text` gives a policy or problems that have a place, in the order of the file.
fn check_any(text: &str) {
    let Err(error) = Policy::parse("F", text) else {
        return;
    };
    let problems = error.problems();
    // A carriage return alone ends a line too.
    let lines = text.matches(['\n', '\r']).count();
    assert!(!problems.is_empty());
    assert!(problems.is_sorted_by_key(|problem| problem.at));
    for problem in problems {
        assert!((1..=lines + 1).contains(&problem.at.line), "{error}");
        assert!(problem.at.column >= 1, "{error}");
        assert!(!problem.message.contains(char::is_control), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        check_any(&text);
    }

    #[test]
    fn no_heap_of_yaml_makes_the_parser_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "version: 1\n", "rules:", "schedulers:", "signals:", "when:", "use:", "command:",
                "- ", "\n", "\n  ", "\n    ", ": ", "{", "}", "[", "]", ", ", "#", "\"", "'", "&a ",
                "*a ", "!t ", "? ", "|", ">", "~", "---\n", "...\n", "%", "\t", "\r\n", "\\", "<<",
                "kernel", "cpu", "high", "250ms", "1e999", "-0", "ä", "\u{feff}", "\0", "\u{2028}",
            ]),
            0..60,
        )
    ) {
        check_any(&parts.concat());
    }

    #[test]
    fn no_damage_to_the_shipped_policy_makes_the_parser_panic(
        start in 0..SHIPPED.len(), length in 0..200_usize, insert in ".{0,8}",
    ) {
        let mut text: Vec<char> = SHIPPED.chars().collect();
        let end = (start + length).min(text.len());
        text.splice(start.min(end)..end, insert.chars());
        check_any(&text.into_iter().collect::<String>());
    }

    #[test]
    fn no_value_makes_a_number_or_duration_panic(value in "[-+0-9a-zµ. ]{0,40}|\\PC{0,40}") {
        for line in ["window: ", "stability: {max_switches_per_hour: ", "signals: {cpu: {high: "] {
            check_any(&with(&format!("{line}{value}")));
        }
    }
}
