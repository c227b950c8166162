//! `auto-ext history`: what the daemon did, what failed, and what others did.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use anstyle::Style;
use auto_ext_service::clock::now_us;
use auto_ext_service::sanitize::sanitize;
use ratatui::crossterm::terminal;

use super::client::Client;
use super::style::{self, ERROR, Styled, WARNING};
use super::theme::Theme;
use super::timeline;
use crate::persistence::history::{Entry, Kind};
use auto_ext_service::clock::utc;

/// How many entries a chart is made of: all that the daemon keeps.
const ALL: u32 = 1000;

/// Prints the last `count` entries, the newest last; as JSON, one object per line. On a terminal there is a chart above
/// them of which scheduler ran when in the last `back`.
pub(crate) async fn run(json: bool, count: u32, back: Duration) -> anyhow::Result<ExitCode> {
    let chart = !json && io::stdout().is_terminal();
    let client = Client::connect().await?;
    let asked = if chart { count.max(ALL) } else { count };
    let entries: String = client.call("History", &asked).await?;
    let entries: Vec<Entry> = serde_json::from_str(&entries)?;
    let out = &mut style::stdout();
    if chart {
        let theme = Theme::of_terminal();
        let width = terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        for line in timeline::lines(&entries, now_us(), back, width, theme) {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    for entry in entries.iter().take(count).rev() {
        if json {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
        } else {
            let what = Styled(style_of(entry), sanitize(&entry.sentence()));
            writeln!(out, "{}  {what}", utc(entry.at))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn style_of(entry: &Entry) -> Style {
    match entry.event {
        Kind::Failed | Kind::Exited => ERROR,
        Kind::Refused => WARNING,
        Kind::Started | Kind::Stopped | Kind::Switched | Kind::Foreign | Kind::Trial => {
            Style::new()
        }
    }
}
