//! Characters that look like others: refused in indentation, warned of in values, named in errors.

use auto_ext_policy::{Checked, Policy};

use super::errors;

/// How many warnings are kept; the others are counted in one more.
const MAX_WARNINGS: usize = 300;

fn warnings(text: &str) -> Vec<String> {
    let checked = Checked::parse("F", text).expect("a valid policy");
    checked.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_indents_a_line_and_is_no_space_is_an_error_on_that_line() {
    for (character, named) in [
        ('\u{a0}', "a no-break space (U+00A0)"),
        ('\u{202f}', "a no-break space (U+202F)"),
        ('\u{2003}', "a space of typography"),
        ('\u{3000}', "a space of typography"),
        ('\u{200b}', "an invisible character (U+200B)"),
        ('\u{feff}', "an invisible character (U+FEFF)"),
    ] {
        for ends in ["\n", "\r\n", "\r"] {
            let text = format!(
                "version: 1{ends}rules:{ends}  - class: idle{ends}  {character} use: [kernel]{ends}"
            );
            let error = errors(&text);
            assert!(error.starts_with("F:4:3: error: "), "{error}");
            assert!(error.contains(named), "{error}");
        }
    }
}

#[test]
fn a_byte_order_mark_begins_a_file_and_no_other_line() {
    let text = "version: 1\nrules: [{class: idle, use: [kernel]}]\n";
    assert!(Policy::parse("F", &format!("\u{feff}{text}")).is_ok());
    let error = errors(&format!("{text}\u{feff}window: 1s\n"));
    assert!(error.starts_with("F:3:1: error: an invisible"), "{error}");
}

#[test]
fn what_looks_like_quotes_and_dashes_in_a_value_is_warned_of_with_its_place() {
    let text = "version: 1
schedulers:
  fast: {command: /opt/‑fast, args: [–m, '−w']}
rules:
  - class: game
    when: {process: [gamescope, “*.exe”, ‘wine’], cgroup: [\"a\\u200Bb\", \"a\\u00A0b\"]}
    use: [fast, kernel]
";
    let warned = warnings(text);
    let expected = [
        ("F:3:19:", "a typographic dash ‑ (U+2011)", "write `-`"),
        ("F:3:38:", "a typographic dash – (U+2013)", "write `-`"),
        ("F:3:42:", "a typographic dash − (U+2212)", "write `-`"),
        (
            "F:6:33:",
            "a typographic quote “ (U+201C)",
            "write `\"` or `'`",
        ),
        (
            "F:6:42:",
            "a typographic quote ‘ (U+2018)",
            "write `\"` or `'`",
        ),
        ("F:6:60:", "an invisible character (U+200B)", "remove it"),
        ("F:6:72:", "a no-break space (U+00A0)", "write a space"),
    ];
    assert_eq!(warned.len(), expected.len(), "{warned:#?}");
    for (warning, (place, named, remedy)) in warned.iter().zip(expected) {
        assert!(warning.starts_with(place), "{warning}");
        assert!(warning.contains(named), "{warning}");
        assert!(warning.ends_with(remedy), "{warning}");
    }
}

#[test]
fn an_error_that_such_a_character_causes_names_it() {
    for (line, named) in [
        (
            "window： 1s",
            "a full-width character ： (U+FF1A): write `:`",
        ),
        ("“window”: 1s", "a typographic quote “ (U+201C)"),
        ("window: “1s”", "a typographic quote “ (U+201C)"),
        ("window: 1 s\u{200b}x", "an invisible character (U+200B)"),
        (
            "stability: ｛min_run: 1s｝",
            "a full-width character ｛ (U+FF5B)",
        ),
    ] {
        let text = format!("version: 1\n{line}\nrules: [{{class: idle, use: [kernel]}}]\n");
        let error = errors(&text);
        assert!(error.contains(named), "{line}: {error}");
    }
}

#[test]
fn comments_and_other_scripts_are_left_alone() {
    let text = "version: 1
# – “typographic” – and a\u{a0}b
rules:
  - {class: idle, when: {process: [Träumer-日本語, Ж, '…']}, use: [kernel]} # – “x”
";
    assert_eq!(warnings(text), [""; 0]);
    let error = errors("version: 1\nwindow: 1 # “x”\nrules: [{class: idle, use: [kernel]}]\n");
    assert!(!error.contains("U+"), "{error}");
}

#[test]
fn warnings_are_bounded() {
    let pattern = "“a".to_owned() + &", “a".repeat(98);
    let rule = |index: usize| {
        format!(
            "  - {{class: c{index}, when: {{process: [{pattern}], cgroup: x{index}}}, use: [kernel]}}\n"
        )
    };
    let rules: String = (0..4).map(rule).collect();
    let warned = warnings(&format!("version: 1\nrules:\n{rules}"));
    assert_eq!(warned.len(), MAX_WARNINGS + 1);
    assert!(
        warned.last().unwrap().ends_with("96 more warnings"),
        "{warned:?}"
    );
}
