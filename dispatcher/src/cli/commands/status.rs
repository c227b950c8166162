//! `auto-ext status`: what the kernel runs, as the kernel says; the daemon's status, as the daemon publishes it.

use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::Style;
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_service::clock::{now_us, utc};
use auto_ext_service::exit_code::Code;
use auto_ext_service::sanitize::sanitize;
use serde_json::{Value as Json, json};

use super::client::{self, Client, Properties, property};
use super::style::{self, ERROR, STRONG, Styled, WARNING};
use super::trial_line;

/// The properties of D-Bus with their names in JSON, in the order in which they are shown.
const PROPERTIES: [(&str, &str); 16] = [
    ("CurrentScheduler", "current_scheduler"),
    ("CurrentOwner", "current_owner"),
    ("SchedulerPid", "scheduler_pid"),
    ("DesiredScheduler", "desired_scheduler"),
    ("Mode", "mode"),
    ("Class", "class"),
    ("Levels", "levels"),
    ("Signals", "signals"),
    ("Reason", "reason"),
    ("Since", "since"),
    ("Switches", "switches"),
    ("Quarantined", "quarantined"),
    ("LastError", "last_error"),
    ("Version", "version"),
    ("Trial", "trial"),
    ("Learning", "learning"),
];

/// Prints the status; the exit code says whether the daemon answered.
pub(crate) async fn run(json: bool) -> anyhow::Result<ExitCode> {
    let daemon = ask_daemon().await;
    let current = SchedExt::below("/sys".as_ref()).read();
    let out = &mut style::stdout();
    if json {
        let mut object: serde_json::Map<String, Json> = PROPERTIES
            .into_iter()
            .map(|(property, name)| {
                let value = daemon.as_ref().map_or(Json::Null, |properties| {
                    client::property(properties, property)
                });
                (name.to_owned(), value)
            })
            .collect();
        // What the kernel says now, whatever the daemon said.
        object.insert("current_scheduler".into(), json!(current.scheduler()));
        object.insert("daemon".into(), json!(daemon.is_ok()));
        writeln!(out, "{}", Json::Object(object))?;
    } else {
        write_text(out, &sanitize(&current.scheduler()), daemon.as_ref().ok())?;
    }
    Ok(match daemon {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => {
            writeln!(io::stderr(), "auto-ext: {why}")?;
            ExitCode::from(Code::NoDaemon as u8)
        }
    })
}

/// All properties of the daemon, or why it cannot be asked.
pub(crate) async fn ask_daemon() -> anyhow::Result<Properties> {
    Client::connect().await?.properties().await
}

fn write_text(out: &mut impl Write, current: &str, daemon: Option<&Properties>) -> io::Result<()> {
    let Some(daemon) = daemon else {
        return writeln!(out, "Scheduler   {}", Styled(STRONG, current));
    };
    let text = |name: &str| property(daemon, name);
    let string = |name: &str| sanitize(text(name).as_str().unwrap_or_default());
    let number = |name: &str| text(name).as_u64().unwrap_or_default();
    let owner = match string("CurrentOwner").as_str() {
        "auto-ext" => format!(" (started by auto-ext, process {})", number("SchedulerPid")),
        "foreign" => " (not started by auto-ext)".to_owned(),
        _ => String::new(),
    };
    writeln!(out, "Scheduler   {}{owner}", Styled(STRONG, current))?;
    writeln!(out, "Since       {}", utc(number("Since")))?;
    if string("DesiredScheduler") != current {
        writeln!(out, "Desired     {}", string("DesiredScheduler"))?;
    }
    // In every other mode it is not the policy that decides.
    let mode = string("Mode");
    let style = if mode == "auto" {
        Style::new()
    } else {
        WARNING
    };
    writeln!(out, "Mode        {}", Styled(style, mode))?;
    writeln!(out, "Class       {}", string("Class"))?;
    let levels: Vec<String> = auto_ext_signals::Signal::ALL
        .iter()
        .map(|signal| {
            let level = text("Levels")[signal.name()]
                .as_str()
                .unwrap_or("unknown")
                .to_owned();
            match text("Signals")[signal.name()].as_f64() {
                Some(value) => format!("{signal} {level} ({value:.2})"),
                None => format!("{signal} {level}"),
            }
        })
        .collect();
    writeln!(out, "Levels      {}", levels.join(", "))?;
    writeln!(out, "Reason      {}", string("Reason"))?;
    if let Some(trial) = trial_line::sentence(&text("Trial"), now_us()) {
        writeln!(out, "Trial       {trial}")?;
    }
    for (scheduler, until) in text("Quarantined").as_object().into_iter().flatten() {
        let until = utc(until.as_u64().unwrap_or_default());
        let what = Styled(WARNING, format!("{scheduler} until {until}"));
        writeln!(out, "Quarantined {what}")?;
    }
    let error = string("LastError");
    if !error.is_empty() {
        writeln!(out, "Last error  {}", Styled(ERROR, error))?;
    }
    Ok(())
}
