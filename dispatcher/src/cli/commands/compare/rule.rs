//! The rule for policies.yaml that a comparison speaks for. Pure.

use std::ffi::OsString;
use std::path::Path;

use auto_ext_policy::{KERNEL, known};

use super::contender::Contender;

/// Programs that run others: that one of them runs says nothing.
const RUNNERS: [&str; 20] = [
    "sh",
    "bash",
    "dash",
    "zsh",
    "fish",
    "env",
    "sudo",
    "doas",
    "nice",
    "ionice",
    "taskset",
    "chrt",
    "timeout",
    "time",
    "perf",
    "nohup",
    "setsid",
    "systemd-run",
    "python3",
    "perl",
];

/// What stands for a program that is not known.
const UNKNOWN: &str = "PROGRAM";

/// A rule for the program of `command` that has `winner` run before what it was better than; `None` where what it is called
/// is no name of a program.
pub(super) fn rule(command: &[OsString], winner: &str, incumbent: &str) -> Option<Rule> {
    let program = Path::new(command.first()?).file_name()?.to_str()?;
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._+-".contains(char);
    if program.is_empty() || program.len() > 255 || !program.chars().all(is_plain) {
        return None;
    }
    let is_known = !RUNNERS.contains(&program);
    let program = if is_known { program } else { UNKNOWN };
    let class: String = program
        .to_ascii_lowercase()
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char
            } else {
                '-'
            }
        })
        .collect();
    let mut candidates = vec![winner];
    candidates.extend([incumbent, KERNEL].iter().filter(|name| **name != winner));
    candidates.dedup();
    let candidates: Vec<String> = candidates.into_iter().map(quoted).collect();
    let (class, program) = (quoted(&class), quoted(program));
    let candidates = candidates.join(", ");
    Some(Rule {
        text: format!("- {{class: {class}, when: {{process: [{program}]}}, use: [{candidates}]}}"),
        is_known,
    })
}

/// The section of the policy that has this scheduler with its arguments, as one that can be named.
pub(super) fn scheduler(tuned: &Contender) -> String {
    let program = tuned.scheduler.trim_start_matches(known::PREFIX);
    let name = quoted(&format!("{program}-tuned"));
    let command = quoted(&format!("{}{program}", known::PREFIX));
    let args: Vec<String> = tuned.args.iter().map(|arg| quoted(arg)).collect();
    format!(
        "schedulers: {{{name}: {{command: {command}, args: [{}]}}}}",
        args.join(", ")
    )
}

/// The rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// An item of the policy's `rules`.
    pub(super) text: String,
    /// The program is in it; else `PROGRAM` stands for it.
    pub(super) is_known: bool,
}

/// As a text of YAML: what JSON quotes is one too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use auto_ext_policy::{Candidate, Policy};

    use super::*;

    #[test]
    fn the_rule_is_one_and_is_about_the_program() {
        let command = ["/usr/bin/make".into(), "-j8".into()];
        let rule = rule(&command, "bpfland", "kernel").unwrap();
        let expected =
            r#"- {class: "make", when: {process: ["make"]}, use: ["bpfland", "kernel"]}"#;
        assert_eq!(rule.text, expected);
        assert!(rule.is_known);
    }

    #[test]
    fn whatever_is_compared_the_policy_takes_the_rule() {
        for command in ["make", "Cyberpunk2077.exe", "g++", "7z", "sh", "./true"] {
            for (winner, incumbent) in [
                ("bpfland", "kernel"),
                ("kernel", "scx_flash"),
                ("cosmos", "lavd"),
            ] {
                let rule = rule(&[command.into()], winner, incumbent).unwrap();
                let idle = "- {class: idle, use: [kernel]}";
                let text = format!("version: 1\nrules:\n  {}\n  {idle}\n", rule.text);
                let policy = Policy::parse("policies.yaml", &text).unwrap();
                let names: Vec<&str> = policy.rules[0]
                    .candidates
                    .iter()
                    .map(Candidate::name)
                    .collect();
                assert_eq!(names.first(), Some(&winner), "{text}");
                assert_eq!(rule.is_known, command != "sh");
            }
        }
    }

    #[test]
    fn the_policy_takes_a_scheduler_with_its_arguments() {
        let tuned = Contender {
            scheduler: "bpfland".to_owned(),
            args: ["-s", "20000", "a b"].map(str::to_owned).to_vec(),
        };
        let text = format!(
            "version: 1\n{}\nrules: [{{class: idle, use: [bpfland-tuned, kernel]}}]\n",
            scheduler(&tuned)
        );
        let policy = Policy::parse("policies.yaml", &text).unwrap();
        let Candidate::Scheduler(parsed) = &policy.rules[0].candidates[0] else {
            panic!("{text}");
        };
        assert_eq!(
            (&parsed.command, &parsed.args),
            (&"scx_bpfland".to_owned(), &tuned.args)
        );
    }

    #[test]
    fn there_is_none_about_what_is_no_name() {
        for command in ["", "/", "a*", "a b", "\u{202e}", "a\nb"] {
            assert_eq!(
                rule(&[command.into()], "bpfland", "kernel"),
                None,
                "{command:?}"
            );
        }
        assert_eq!(rule(&[], "bpfland", "kernel"), None);
    }
}
