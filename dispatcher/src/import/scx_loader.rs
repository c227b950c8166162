//! The configuration of scx_loader: the scheduler and mode in which it begins, and the arguments of each mode.

use toml::{Table, Value};

use super::draft::{Draft, Rule};
use super::sources::Source;
use crate::scx_loader::settings::arguments_in;
use crate::scx_loader::{Mode, command};

pub(super) fn convert(sources: &[Source], draft: &mut Draft) {
    for source in sources {
        let place = source.path.display().to_string();
        match source.text.parse::<Table>() {
            Ok(table) => return convert_table(&table, draft),
            Err(error) => {
                let what = format!("{place} ({})", error.message());
                draft.leave_out("files that are no TOML", &what);
            }
        }
    }
}

fn convert_table(table: &Table, draft: &mut Draft) {
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    let Some(scheduler) = text("default_sched") else {
        draft.note("scx_loader has no `default_sched`: it runs nothing until somebody asks it to");
        return;
    };
    let Some(command) = command(scheduler) else {
        draft.leave_out("what cannot be a scheduler", scheduler);
        return;
    };
    let name = text("default_mode").unwrap_or("Auto");
    let Some(mode) = Mode::of_scx_loader(name) else {
        draft.leave_out("modes that are not known", name);
        return;
    };
    let modes = table.get("scheds").and_then(|scheds| scheds.get(&command));
    let arguments = modes.and_then(|modes| modes.get(mode.key()));
    let arguments = match arguments.map(arguments_in) {
        None => mode.arguments(&command),
        Some(Some(arguments)) => arguments,
        Some(None) => {
            draft.leave_out("arguments that are no list of texts", &mode.key());
            return;
        }
    };
    for other in Mode::ALL.into_iter().filter(|other| *other != mode) {
        if modes.is_some_and(|modes| modes.get(other.key()).is_some()) {
            draft.leave_out("modes that only a person asks for", other.name());
        }
    }
    let scheduler = draft.scheduler(&command, mode, arguments);
    let class = draft.own("default");
    draft.note(format!(
        "{class} has no condition and comes after all other rules, so it never gets its turn after one like it: `idle` of the \
         shipped policy"
    ));
    draft.note(format!(
        "for {scheduler} whenever no other rule applies, remove `idle` from policies.yaml; under a load too, name it in the \
         rule of that load"
    ));
    draft.rule(Rule {
        class,
        scheduler,
        comment: "What scx_loader would run. It applies when no other rule does.",
        ..Rule::default()
    });
}
