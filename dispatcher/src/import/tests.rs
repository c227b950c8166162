//! What is made of settings of other tools, and that a policy may have it.

use std::fs;

use auto_ext_policy::{Checked, Policy};
use auto_ext_signals::Process;

use super::*;
use crate::sources::read_policy;

/// The settings in these files, and the draft of them.
fn import(tool: Tool, files: &[(&str, &str)]) -> Result<Draft, String> {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    tool.import(Some(root.path()))
}

/// The policy of a draft, which is good by itself and beside the shipped one.
fn policy(draft: &Draft) -> Policy {
    let yaml = draft.yaml();
    let alone = Checked::parse("F", &yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(alone.warnings, [], "{yaml}");
    let root = tempfile::tempdir().unwrap();
    let here = |name: &str| root.path().join(name);
    fs::create_dir(here("policies.d")).unwrap();
    fs::write(
        here("policies.yaml"),
        include_str!("../../../policies.yaml"),
    )
    .unwrap();
    fs::write(here("policies.d/import.yaml"), &yaml).unwrap();
    read_policy::load(&here("policies.yaml")).unwrap();
    alone.policy
}

fn runs(policy: &Policy, name: &str) -> Option<String> {
    let process = Process {
        comm: name.chars().take(15).collect(),
        executable: format!("/opt/{name}"),
        ..Process::default()
    };
    let rule = policy.rules.iter().find(|rule| rule.when.want(&process))?;
    let auto_ext_policy::Candidate::Scheduler(scheduler) = &rule.candidates[0] else {
        return None;
    };
    Some(scheduler.command_line())
}

#[test]
fn profiles_of_falcond_become_rules_by_scheduler_and_mode() {
    let draft = import(
        Tool::Falcond,
        &[
            ("shooter.conf", "# a game\nname = \"shooter\"\nscx_sched = lavd\nscx_sched_props = gaming\nvcache_mode = cache\n"),
            ("race.conf", "name = \"Race Car.exe\"\nscx_sched = \"bpfland\"\n"),
            ("quiet.conf", "name = \"quiet\"\nscx_sched = none\n"),
            ("odd.conf", "name = \"odd\"\nscx_sched = lavd\nscx_sched_props = turbo\n"),
            ("generic.conf", "name = \"game.exe\"\nscx_sched = lavd # why not\n"),
            ("system.conf", "system_processes = [\"services.exe\"]\n"),
            ("readme.txt", "name = \"no\"\nscx_sched = lavd\n"),
        ],
    )
    .unwrap();
    let policy = policy(&draft);
    assert_eq!(
        runs(&policy, "shooter").unwrap(),
        "scx_lavd --performance --pinned-slice-us 500"
    );
    assert_eq!(
        runs(&policy, "race car.EXE").unwrap(),
        "scx_bpfland -m auto"
    );
    for name in ["quiet", "odd", "game.exe", "no", "services.exe"] {
        assert_eq!(runs(&policy, name), None, "{name}");
    }
    let report = draft.report();
    for said in [
        "6 files read",
        "rule falcond-lavd-gaming, which uses falcond-lavd-gaming: 1 program\n",
        "ask for no scheduler: quiet\n",
        "not known: odd (lavd, turbo)\n",
        "other programs have too: game.exe\n",
        "without the name of a program: ",
    ] {
        assert!(report.contains(said), "{said}: {report}");
    }
}

#[test]
fn games_of_ananicy_become_a_list_and_what_is_no_game_another() {
    let draft = import(
        Tool::Ananicy,
        &[
            ("a/games.rules", "# Games\n{ \"name\": \"shooter\", \"type\": \"Game\" }\n{\"name\":\"Race Car.exe\",\"type\":\"game\"} # a race\n{\"name\": \"start.exe\", \"type\": \"Game\"}\n{\"name\": \"a/b\", \"type\": \"Game\"}\n\"quoted\\\"\n"),
            ("b/other.rules", "{\"name\": \"Crash.exe\", \"type\": \"Service\"}\n{\"name\": \"race car.exe\", \"nice\": 5}\n{\"name\": \"editor\", \"type\": \"Doc-View\"}\n"),
            ("00-types.types", "{\"type\": \"Game\", \"nice\": -5}\n"),
        ],
    )
    .unwrap();
    let policy = policy(&draft);
    assert_eq!(
        runs(&policy, "shooter").unwrap(),
        "scx_bpfland -m performance -w"
    );
    // One that is listed as both is none.
    for name in ["Race Car.exe", "start.exe", "Crash.exe", "editor"] {
        assert_eq!(runs(&policy, name), None, "{name}");
    }
    let yaml = draft.yaml();
    assert!(
        yaml.contains("when: {process: [{list: ananicy-games}], except: {list: ananicy-no-games}}"),
        "{yaml}"
    );
    let report = draft.report();
    for said in [
        "2 files read",
        "other types: editor (Doc-View)",
        "have too: start.exe",
        "no name of a program: a/b",
        "games.rules:6",
    ] {
        assert!(report.contains(said), "{said}: {report}");
    }
}

#[test]
fn the_games_of_system76_become_a_list_and_patterns() {
    let draft = import(
        Tool::System76,
        &[
            ("config.kdl", "process-scheduler enable=true {\n assignments {\n  games nice=-5 { \"/opt/games/shooter\"; }\n sound-server { pipewire }\n }\n}\n"),
            ("process-scheduler/mine.kdl", "assignments {\n\tgames {\n\t\tsteam\n\t\tvrserver\n\t\tinclude name=\"Race*\"\n\t\tinclude descends=\"steam\"\n\t}\n}\n"),
            ("process-scheduler/broken.kdl", "assignments {\n games {\n"),
        ],
    )
    .unwrap();
    let policy = policy(&draft);
    let scheduler = "scx_bpfland -m performance -w";
    assert_eq!(runs(&policy, "vrserver").as_deref(), Some(scheduler));
    assert_eq!(runs(&policy, "RaceCar").as_deref(), Some(scheduler));
    assert_eq!(runs(&policy, "games/shooter").as_deref(), Some(scheduler));
    assert_eq!(runs(&policy, "steam").or(runs(&policy, "pipewire")), None);
    let report = draft.report();
    for said in [
        "include descends=steam",
        "without a game too: steam",
        "not about games: sound-server",
        "broken.kdl:",
    ] {
        assert!(report.contains(said), "{said}: {report}");
    }
}

#[test]
fn the_default_of_scx_loader_becomes_a_rule_without_conditions() {
    let text = "default_sched = \"scx_lavd\"\ndefault_mode = \"Gaming\"\n[scheds.scx_lavd]\ngaming_mode = [\"--performance\", \"-x\"]\nserver_mode = []\n";
    let draft = import(Tool::ScxLoader, &[("config.toml", text)]).unwrap();
    let of_draft = policy(&draft);
    let scheduler = &of_draft.schedulers["scx-loader-lavd-gaming"];
    assert_eq!(scheduler.command_line(), "scx_lavd --performance -x");
    assert_eq!(of_draft.rules[0].class, "scx-loader-default");
    let report = draft.report();
    assert!(
        report.contains("remove `idle`") && report.contains("a person asks for: server"),
        "{report}"
    );

    let draft = import(
        Tool::ScxLoader,
        &[(
            "a.toml",
            "default_sched = \"scx_cosmos\"\ndefault_mode = \"LowLatency\"\n",
        )],
    )
    .unwrap();
    let arguments = policy(&draft).schedulers["scx-loader-cosmos-lowlatency"].command_line();
    assert_eq!(arguments, "scx_cosmos -s 700 -m performance -w");
    let nothing = import(Tool::ScxLoader, &[("a.toml", "default_mode = \"Auto\"\n")]).unwrap_err();
    assert!(
        nothing.contains("runs nothing until somebody asks"),
        "{nothing}"
    );
    assert!(
        import(Tool::ScxLoader, &[("a.toml", "default_sched = [")])
            .unwrap_err()
            .contains("no TOML")
    );
    assert!(
        import(Tool::ScxLoader, &[("a.txt", "")])
            .unwrap_err()
            .contains("ends in `.toml`")
    );
}

#[test]
fn what_is_read_cannot_break_out_of_the_file_or_grow_beyond_a_policy() {
    let names = [
        "a: b",
        "#",
        "\\u001b[31m",
        "\\n- x",
        "{list: x}",
        "é\\u202e",
        "true",
        "~",
        "&a",
        " ",
    ];
    let mut rules: String = names
        .iter()
        .map(|name| format!("{{\"name\": \"{name}\", \"type\": \"Game\"}}\n"))
        .collect();
    rules.extend((0..40_000).map(|number| {
        format!("{{\"name\": \"the-name-of-a-game-{number}.exe\", \"type\": \"Game\"}}\n")
    }));
    let draft = import(Tool::Ananicy, &[("a.rules", &rules)]).unwrap();
    let policy = policy(&draft);
    for name in ["a: b", "#", "{list: x}", "true", "~", "&a"] {
        assert!(runs(&policy, name).is_some(), "{name}");
    }
    assert_eq!(runs(&policy, "é\u{202e}"), None);
    assert!(!draft.report().contains('\u{1b}'), "{}", draft.report());
    assert!(draft.report().contains("no room in one file"));
}
