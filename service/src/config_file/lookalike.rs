//! Characters that look like those of YAML or of a command line and are others: typographic quotes and dashes, no-break
//! spaces, invisible characters. Web pages and word processors put them in the place of what was typed; to YAML they
//! are text.

use super::error::{Location, Problem, Problems, quote};
use super::yaml::{Node, Value};

/// A character that is probably not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lookalike {
    character: char,
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
    fn of(character: char) -> Option<Self> {
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
    fn shown(&self) -> String {
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

/// Refuses such a character in the indentation of a line. YAML takes it for the beginning of a value, and reports only
/// what that breaks further down.
///
/// # Errors
/// When there is one.
pub fn refuse_indentation(text: &str) -> Result<(), Problem> {
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
pub fn warn(problems: &mut Problems, node: &Node) {
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

/// Adds to what is wrong in `text` that such a character on the same line, or on the one before, may be the cause.
pub fn explain(problems: &mut Problems, text: &str) {
    explain_problems(problems.found_mut(), text);
}

fn explain_problems(problems: &mut [Problem], text: &str) {
    if problems.is_empty() {
        return;
    }
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
