//! `auto-ext history`: what the daemon did, and what was not its doing.

use std::io::Write as _;
use std::process::ExitCode;

use anstyle::Style;

use super::client::Client;
use super::status::wall_time;
use super::style::{self, ERROR, Styled, WARNING};
use crate::history::{Entry, Kind, Way};

/// Prints the last `count` entries, the newest last; as JSON, one object per line.
pub(crate) async fn run(json: bool, count: u32) -> anyhow::Result<ExitCode> {
    let client = Client::connect().await?;
    let entries: String = client.call("History", &count).await?;
    let entries: Vec<Entry> = serde_json::from_str(&entries)?;
    let out = &mut style::stdout();
    for entry in entries.iter().rev() {
        if json {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
        } else {
            let what = Styled(style_of(entry), sentence(entry));
            writeln!(out, "{}  {what}", wall_time(entry.at))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn style_of(entry: &Entry) -> Style {
    match entry.event {
        Kind::Failed | Kind::Exited => ERROR,
        Kind::Refused => WARNING,
        Kind::Started | Kind::Switched | Kind::Foreign => Style::new(),
    }
}

fn sentence(entry: &Entry) -> String {
    let Entry {
        from,
        to,
        reason,
        error,
        ..
    } = entry;
    match entry.event {
        Kind::Started => format!("the daemon started beside {to}: {reason}"),
        Kind::Switched => {
            let how = match (entry.way, entry.gap_us) {
                (Some(Way::Hot), Some(gap)) => format!(" (hot, {} without a scheduler)", ms(gap)),
                (Some(Way::Cold), Some(gap)) => {
                    format!(" (cold because {error}, {} without a scheduler)", ms(gap))
                }
                _ => String::new(),
            };
            format!("{from} -> {to}{how}: {reason}")
        }
        Kind::Failed => format!("{from} -> {to} failed: {error}; wanted because: {reason}"),
        Kind::Exited => format!("{from} ended by itself: {error}"),
        Kind::Foreign => format!("{from} -> {to}, {reason}"),
        Kind::Refused => format!("refused {reason}: {error}"),
    }
}

fn ms(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1000.0)
}
