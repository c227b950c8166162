//! Rules of ananicy: lines of JSON with a program and its type. Those of the type `Game` become a list; programs of Windows of
//! other types, services and launchers, one of what is no game.

use serde_json::Value;

use super::draft::{Draft, Rule};
use super::names::{Kind, is_of_windows};
use super::sources::Source;

pub(super) fn convert(sources: &[Source], draft: &mut Draft) {
    let (games, others) = (draft.own("games"), draft.own("no-games"));
    for source in sources {
        for (number, line) in (1..).zip(source.text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Ok(rule) = serde_json::from_str::<Value>(without_comment(line)) else {
                let place = format!("{}:{number}", source.path.display());
                draft.leave_out("lines that are no JSON", &place);
                continue;
            };
            let text = |key: &str| rule.get(key).and_then(Value::as_str);
            let Some(name) = text("name") else {
                continue;
            };
            match text("type") {
                Some(kind) if kind.eq_ignore_ascii_case("game") => draft.game(&games, name),
                _ if is_of_windows(name) && Kind::of(name) != Kind::Invalid => {
                    draft.name(&others, name);
                }
                kind => {
                    let kind = kind.unwrap_or("none");
                    draft.leave_out("programs of other types", &format!("{name} ({kind})"));
                }
            }
        }
    }
    if !draft.has_list(&games) {
        return;
    }
    let except = draft.has_list(&others).then_some(others);
    let scheduler = draft.scheduler_for_games();
    draft.rule(Rule {
        class: draft.own("game"),
        lists: vec![games],
        except,
        scheduler,
        comment: "To take every other program of Windows for a game too, add \"*.exe\" to `process`.",
        ..Rule::default()
    });
    draft.note("nice values, I/O classes and cgroups are ananicy's, which can go on setting them");
}

/// A comment may follow the object.
fn without_comment(line: &str) -> &str {
    match line.rfind('}') {
        Some(end) if line[end + 1..].trim_start().starts_with('#') => &line[..=end],
        _ => line,
    }
}
