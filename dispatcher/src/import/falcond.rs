//! Profiles of falcond: a file for each program, with the scheduler and mode in which scx_loader is to run it. `none` means to
//! leave what runs, and so no rule.

use std::collections::BTreeMap;

use super::draft::{Draft, Rule};
use super::sources::Source;
use crate::scx_loader::{Mode, command};

pub(super) fn convert(sources: &[Source], draft: &mut Draft) {
    let mut wanted: BTreeMap<(String, Mode), Vec<String>> = BTreeMap::new();
    for source in sources {
        let place = source.path.display().to_string();
        let Some(name) = value(&source.text, "name") else {
            draft.leave_out("files without the name of a program", &place);
            continue;
        };
        let scheduler = value(&source.text, "scx_sched").unwrap_or("none");
        if scheduler == "none" {
            draft.leave_out("profiles that ask for no scheduler", name);
            continue;
        }
        let mode = value(&source.text, "scx_sched_props").unwrap_or("default");
        match (command(scheduler), Mode::of_falcond(mode)) {
            (Some(command), Some(mode)) => {
                wanted
                    .entry((command, mode))
                    .or_default()
                    .push(name.to_owned());
            }
            _ => {
                let what = format!("{name} ({scheduler}, {mode})");
                draft.leave_out("profiles with a scheduler or mode that is not known", &what);
            }
        }
    }
    for ((command, mode), names) in wanted {
        let short = command.strip_prefix("scx_").unwrap_or(&command);
        let list = draft.own(&format!("{short}-{}", mode.name()));
        for name in names {
            draft.game(&list, &name);
        }
        if draft.has_list(&list) {
            let scheduler = draft.scheduler(&command, mode, mode.arguments(&command));
            draft.rule(Rule {
                class: list.clone(),
                lists: vec![list],
                scheduler,
                ..Rule::default()
            });
        }
    }
    draft.note("performance mode, vcache mode and scripts are falcond's; let it not choose schedulers beside auto-ext: set its scx_sched to none");
}

/// The value of `key` in lines such as `key = "value"` or `key = value`. falcond's files are like TOML, but for words without
/// quotes.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once('=')?;
        (found.trim() == key).then_some(value.trim())
    })?;
    match value.strip_prefix('"') {
        Some(rest) => rest.split('"').next(),
        None => value.split('#').next().map(str::trim),
    }
    .filter(|value| !value.is_empty())
}
