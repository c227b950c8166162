//! Texts of policies of all kinds, none of which may make the parser panic.

use auto_ext_policy::Checked;
use proptest::prelude::*;
use proptest::sample::Index;

use super::policy::policy;

const SHIPPED: &str = include_str!("../../../policies.yaml");
/// The same with everything that is commented out in it.
const UNCOMMENTED: &str = include_str!("../../../fuzz/corpus/policy/shipped-uncommented.yaml");

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        policy(text.as_bytes());
    }

    #[test]
    fn no_heap_of_yaml_makes_the_parser_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "version: 1\n", "rules:", "schedulers:", "signals:", "when:", "use:", "command:",
                "- ", "\n", "\n  ", "\n    ", ": ", "{", "}", "[", "]", ", ", "#", "\"", "'", "&a ",
                "*a ", "!t ", "? ", "|", ">", "~", "---\n", "...\n", "%", "\t", "\r\n", "\\", "<<",
                "kernel", "cpu", "high", "250ms", "1e999", "-0", "ä", "\u{feff}", "\0", "\u{2028}",
                "process:", "cgroup:", "power: ac", "*/a[", "lists:", "list:", "except:", "file: a",
                "descends:", "program:",
            ]),
            0..60,
        )
    ) {
        policy(parts.concat().as_bytes());
    }

    #[test]
    fn no_damage_to_the_shipped_policy_makes_the_parser_panic(
        start in 0..SHIPPED.len(), length in 0..200_usize, insert in ".{0,8}",
    ) {
        let mut text: Vec<char> = SHIPPED.chars().collect();
        let end = (start + length).min(text.len());
        text.splice(start.min(end)..end, insert.chars());
        policy(text.into_iter().collect::<String>().as_bytes());
    }

    #[test]
    fn no_number_of_cuts_and_repetitions_makes_the_parser_panic(
        edits in prop::collection::vec((any::<Index>(), any::<Index>(), 0..3), 1..12),
    ) {
        let mut lines: Vec<String> = UNCOMMENTED.lines().map(str::to_owned).collect();
        for (from, to, edit) in edits {
            let from = from.index(lines.len());
            match edit {
                0 => drop(lines.remove(from)),
                1 => {
                    let line = lines[from].clone();
                    lines.insert(to.index(lines.len()), line);
                }
                _ => {
                    let cut: String = lines[from].chars().skip(1).collect();
                    lines[from] = cut;
                }
            }
        }
        policy(lines.join("\n").as_bytes());
    }

    #[test]
    fn no_bytes_in_a_file_make_the_parser_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..SHIPPED.len(),
    ) {
        let mut content = SHIPPED.as_bytes()[..at].to_vec();
        content.extend(bytes);
        let lines = content.iter().filter(|byte| b"\n\r".contains(byte)).count();
        if let Err(error) = Checked::from_bytes("F", content) {
            for problem in error.problems() {
                prop_assert!((1..=lines + 1).contains(&problem.at.line), "{}", error);
            }
        }
    }

    #[test]
    fn no_value_makes_a_number_or_duration_panic(value in "[-+0-9a-zµ. ]{0,40}|\\PC{0,40}") {
        for line in ["window: ", "stability: {max_switches_per_hour: ", "signals: {cpu: {high: "] {
            let text = format!("version: 1\n{line}{value}\nrules: [{{class: idle, use: [kernel]}}]\n");
            policy(text.as_bytes());
        }
    }

    #[test]
    fn no_pattern_makes_the_parser_panic(text in "[ab*?/\\[\\]!-]{0,20}|\\PC{0,40}") {
        for key in ["process", "cgroup", "process: a, except"] {
            for value in [&text, &format!("['{text}']")] {
                let rule = format!("{{class: a, when: {{{key}: {value}}}, use: [kernel]}}");
                policy(format!("version: 1\nrules: [{rule}]\n").as_bytes());
            }
        }
        let rule = format!(
            "{{class: a, when: {{process: {{descends: ['{text}'], program: '{text}'}}}}, use: [kernel]}}"
        );
        policy(format!("version: 1\nrules: [{rule}]\n").as_bytes());
        let rule = "{class: a, when: {process: {list: a}}, use: [kernel]}";
        policy(format!("version: 1\nlists: {{a: ['{text}']}}\nrules: [{rule}]\n").as_bytes());
    }
}
