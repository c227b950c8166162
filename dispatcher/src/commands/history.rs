//! `auto-ext history`: what the daemon did, and what was not its doing.

use std::io::{self, Write};
use std::process::ExitCode;

use super::client::Client;
use super::status::wall_time;
use crate::history::{Entry, Kind, Way};

/// Prints the last `count` entries, the newest last; as JSON, one object per line.
pub(crate) async fn run(json: bool, count: u32) -> anyhow::Result<ExitCode> {
    let client = Client::connect().await?;
    let entries: String = client.call("History", &count).await?;
    let entries: Vec<Entry> = serde_json::from_str(&entries)?;
    let out = &mut io::stdout().lock();
    for entry in entries.iter().rev() {
        if json {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
        } else {
            writeln!(out, "{}  {}", wall_time(entry.at), sentence(entry))?;
        }
    }
    Ok(ExitCode::SUCCESS)
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
