//! Characters that look like those of YAML or of a command line and are others: typographic quotes
//! and dashes, spaces that do not break, what is invisible. Web pages and word processors put them
//! in the place of what was typed; YAML takes them for text.

use super::error::{Location, Problem, Problems, quote};
use super::yaml::{Node, Value};

/// A character that is probably not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lookalike {
    pub(super) character: char,
    /// What it is.
    what: &'static str,
    /// What to do about it.
    instead: Instead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    Write(char),
    WriteQuotes,
    Remove,
}

impl Lookalike {
    /// What `character` may have been taken for.
    pub(super) fn of(character: char) -> Option<Self> {
        let (what, instead) = match character {
            '“'
            | '”'
            | '„'
            | '‟'
            | '‘'
            | '’'
            | '‚'
            | '‛'
            | '«'
            | '»'
            | '‹'
            | '›'
            | '′'
            | '″'
            | '´'
            | '「'
            | '」'
            | '『'
            | '』'
            | '\u{301d}'..='\u{301f}' => ("a typographic quote", Instead::WriteQuotes),
            '＂' | '＇' => ("a full-width quote", Instead::WriteQuotes),
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => {
                ("a typographic dash", Instead::Write('-'))
            }
            '\u{a0}' | '\u{2007}' | '\u{202f}' => ("a no-break space", Instead::Write(' ')),
            '\u{1680}'
            | '\u{2000}'..='\u{2006}'
            | '\u{2008}'..='\u{200a}'
            | '\u{205f}'
            | '\u{3000}' => (
                "a space of typography, which is none for YAML",
                Instead::Write(' '),
            ),
            '\u{2028}' | '\u{2029}' => ("a line separator", Instead::Remove),
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => ("an invisible character", Instead::Remove),
            '\u{2217}' => ("an asterisk operator", Instead::Write('*')),
            // The forms of ASCII's characters that are as wide as Chinese ones.
            '\u{ff01}'..='\u{ff5e}' => {
                let ascii = u32::from(character) - 0xff01 + u32::from('!');
                (
                    "a full-width character",
                    Instead::Write(char::from_u32(ascii)?),
                )
            }
            _ => return None,
        };
        Some(Self {
            character,
            what,
            instead,
        })
    }

    fn first_in(text: &str) -> Option<Self> {
        text.chars().find_map(Self::of)
    }

    /// What it is, by its name, its shape and its number.
    pub(super) fn shown(&self) -> String {
        let number = u32::from(self.character);
        match self.instead {
            Instead::Write(' ') | Instead::Remove => format!("{} (U+{number:04X})", self.what),
            _ => format!("{} {} (U+{number:04X})", self.what, self.character),
        }
    }

    fn remedy(&self) -> String {
        match self.instead {
            Instead::Write(' ') => "write a space".to_owned(),
            Instead::Write(character) => format!("write {}", quote(&character.to_string())),
            Instead::WriteQuotes => "write `\"` or `'`".to_owned(),
            Instead::Remove => "remove it".to_owned(),
        }
    }
}

/// Refuses what indents a line and is no space: YAML takes it for the beginning of a value, and
/// complains of what that breaks further down.
pub(super) fn refuse_indentation(text: &str) -> Result<(), Problem> {
    let text = text.replace("\r\n", "\n");
    for (index, line) in text.split(['\n', '\r']).enumerate() {
        for (column, character) in line.chars().enumerate() {
            let begins_file = (index, column) == (0, 0) && character == '\u{feff}';
            let indents = |found: &Lookalike| matches!(found.instead, Instead::Write(' '));
            let invisible = |found: &Lookalike| found.instead == Instead::Remove;
            match Lookalike::of(character) {
                Some(found) if !begins_file && (indents(&found) || invisible(&found)) => {
                    let at = Location {
                        line: index + 1,
                        column: column + 1,
                    };
                    let message = format!(
                        "{} stands at the beginning of this line; YAML wants spaces there",
                        found.shown()
                    );
                    return Err(Problem::new(at, message));
                }
                _ if character == ' ' || character == '\t' || begins_file => {}
                _ => break,
            }
        }
    }
    Ok(())
}

/// Warns of every key and value that has such a character. Depth is bounded where `node` was read.
pub(super) fn warn(problems: &mut Problems, node: &Node) {
    match &node.value {
        Value::Empty => {}
        Value::Text { text, .. } => {
            if let Some(found) = Lookalike::first_in(text) {
                let message = format!(
                    "{} has {}, which is text for YAML; if it is not meant, {}",
                    quote(text),
                    found.shown(),
                    found.remedy()
                );
                problems.warn(node.at, message);
            }
        }
        Value::List(items) => items.iter().for_each(|item| warn(problems, item)),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                warn(problems, key);
                warn(problems, value);
            }
        }
    }
}

/// Says of errors in `text` whether such a character on the same line, or on the one before, may be
/// the cause.
pub(super) fn explain(problems: &mut [Problem], text: &str) {
    let text = text.replace("\r\n", "\n");
    let lines: Vec<&str> = text.split(['\n', '\r']).collect();
    for problem in problems {
        if problem.at == Location::START || problem.message.contains("(U+") {
            continue;
        }
        let number = problem.at.line;
        let found = [number, number - 1].into_iter().find_map(|number| {
            let line = lines.get(number.checked_sub(1)?)?;
            Some((number, Lookalike::first_in(without_comment(line))?))
        });
        if let Some((line, found)) = found {
            let (shown, remedy) = (found.shown(), found.remedy());
            problem.message += &format!("; line {line} has {shown}: {remedy}");
        }
    }
}

/// About what YAML reads of a line; a `#` between quotes does not matter here.
fn without_comment(line: &str) -> &str {
    if line.starts_with('#') {
        return "";
    }
    line.split(" #").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Checked, Policy};

    fn error(text: &str) -> String {
        Policy::parse("F", text).unwrap_err().to_string()
    }

    fn warnings(text: &str) -> Vec<String> {
        let checked = Checked::parse("F", text).unwrap();
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
                let error = error(&text);
                assert!(error.starts_with("F:4:3: error: "), "{error}");
                assert!(error.contains(named), "{error}");
            }
        }
    }

    #[test]
    fn a_byte_order_mark_begins_a_file_and_no_other_line() {
        let text = "version: 1\nrules: [{class: idle, use: [kernel]}]\n";
        assert!(Policy::parse("F", &format!("\u{feff}{text}")).is_ok());
        let error = error(&format!("{text}\u{feff}window: 1s\n"));
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
            let error = error(&text);
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
        let error = error("version: 1\nwindow: 1 # “x”\nrules: [{class: idle, use: [kernel]}]\n");
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
        assert_eq!(warned.len(), super::super::error::MAX_WARNINGS + 1);
        assert!(
            warned.last().unwrap().ends_with("96 more warnings"),
            "{warned:?}"
        );
    }
}
