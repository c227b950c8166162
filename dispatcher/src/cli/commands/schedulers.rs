//! `auto-ext schedulers`: which schedulers are known or installed, which can be run, how each last ended; and having the
//! failures of one forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use auto_ext_policy::known;
use auto_ext_scx::process::executable;
use auto_ext_scx::process::executable::ProgramError;
use auto_ext_service::file_access::Reader;
use auto_ext_service::sanitize::sanitize;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Client;
use super::service_unit;
use super::style::{self, ERROR, Styled, WARNING};
use crate::persistence::history::{Entry, Kind};
use crate::sources::read_policy;
use auto_ext_service::clock::utc;

/// How long a scheduler may take to say its version.
const VERSION_WITHIN: Duration = Duration::from_secs(5);
/// How much of what it says is read, in bytes.
const MAX_OUTPUT: u64 = 4096;
/// The user and group that own nothing.
const NOBODY: u32 = 65534;
/// How long a version may be, in bytes.
const MAX_VERSION: usize = 64;
/// How far back the history is searched for the last end.
const ENTRIES: u32 = 1000;

/// One scheduler of the list.
#[derive(Debug, Default, Serialize)]
struct Line {
    /// The policy's name for it, or the short name of a known one.
    name: String,
    command: String,
    args: Vec<String>,
    /// Where its program is; `None` when it cannot be run.
    path: Option<String>,
    /// Why it cannot be run.
    error: Option<String>,
    version: Option<String>,
    /// What it is for, as its authors say.
    note: Option<&'static str>,
    /// How it last failed or ended by itself.
    last_end: Option<String>,
    /// Until when it is quarantined: CLOCK_REALTIME in microseconds.
    quarantined_until: Option<u64>,
}

/// Prints the list. Without the daemon, what only it knows is left out.
pub(crate) async fn run(json: bool, config: &Path) -> anyhow::Result<ExitCode> {
    let mut lines = lines(
        config,
        &service_unit::reader().await,
        &executable::installed_unknown(),
    );
    let paths: BTreeSet<String> = lines.iter().filter_map(|line| line.path.clone()).collect();
    let versions = versions(paths).await;
    let (ends, quarantined) = ask_daemon().await.unwrap_or_default();
    for line in &mut lines {
        line.version = line
            .path
            .as_ref()
            .and_then(|path| versions.get(path).cloned());
        // The history knows them by the names of their files.
        line.last_end = ends.get(executable::file_name(&line.command)).cloned();
        line.quarantined_until = quarantined.get(&line.name).copied();
    }
    let out = &mut style::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&lines)?)?;
    } else {
        write_text(out, &lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the daemon forget the failures of what is called `name`.
pub(crate) async fn reset_failed(name: &str) -> anyhow::Result<ExitCode> {
    let client = Client::connect().await?;
    let () = client.call("ResetFailed", &(name,)).await?;
    writeln!(io::stdout(), "{name} is not quarantined any more")?;
    Ok(ExitCode::SUCCESS)
}

/// The schedulers of the policy, the known ones that it does not define, and those that are installed.
fn lines(config: &Path, service: &Reader, installed: &BTreeSet<String>) -> Vec<Line> {
    let policy = read_policy::load(config).unwrap_or_default();
    let of_policy = policy.schedulers.values().map(|scheduler| Line {
        name: scheduler.name.clone(),
        command: scheduler.command.clone(),
        args: scheduler.args.clone(),
        ..Line::default()
    });
    let known = known::ALL
        .iter()
        .filter(|known| !policy.schedulers.contains_key(known.name()))
        .map(|known| Line {
            name: known.name().to_owned(),
            command: known.command.to_owned(),
            ..Line::default()
        });
    let defined = |command: &str| {
        let mut defined = policy.schedulers.values();
        defined.any(|scheduler| scheduler.command == command)
    };
    let unknown = installed
        .iter()
        .filter(|command| !defined(command))
        .map(|command| Line {
            name: command.trim_start_matches(known::PREFIX).to_owned(),
            command: command.clone(),
            ..Line::default()
        });
    let mut lines: Vec<Line> = of_policy.chain(known).chain(unknown).collect();
    for line in &mut lines {
        match executable::find_for(service, &line.command) {
            Ok(path) => line.path = Some(path.display().to_string()),
            Err(ProgramError::NotFound(command)) if !command.starts_with('/') => {}
            Err(error) => line.error = Some(error.to_string()),
        }
        line.note = known::by_name(&line.command).map(|known| known.note);
    }
    lines.sort_by(|a, b| (&a.command, &a.name).cmp(&(&b.command, &b.name)));
    lines
}

/// The versions of the programs that are known schedulers themselves. No other is executed: a script that starts one may
/// do so whatever arguments it gets.
async fn versions(paths: BTreeSet<String>) -> BTreeMap<String, String> {
    let known = |path: &String| executable::is_known_scheduler(Path::new(path));
    let asked = paths.into_iter().filter(known);
    let asked =
        asked.map(|path| async move { version(&path).await.map(|version| (path, version)) });
    // All at once, as each may take seconds.
    let answers = asked.collect::<JoinSet<_>>().join_all().await;
    answers.into_iter().flatten().collect()
}

/// What the program prints for `--version`: the word after its name. It has neither root's rights nor our environment and
/// working directory.
async fn version(path: &str) -> Option<String> {
    // It is inherited. Nothing in this process needs what it forbids.
    nix::sys::prctl::set_no_new_privs().ok()?;
    let mut command = Command::new(path);
    command
        .arg("--version")
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if nix::unistd::geteuid().is_root() {
        // With that it loses all capabilities, and so cannot load a scheduler.
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.spawn().ok()?;
    let mut text = Vec::new();
    let output = child.stdout.take()?;
    let read = timeout(
        VERSION_WITHIN,
        output.take(MAX_OUTPUT).read_to_end(&mut text),
    )
    .await;
    // Nothing more is needed of it.
    if let Some(group) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended by itself; it has not been waited for, so that the number is its own.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    read.ok()?.ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut version = text.split_whitespace().nth(1)?.to_owned();
    version.retain(|char| !char.is_control());
    version.truncate(version.floor_char_boundary(MAX_VERSION));
    Some(version)
}

/// How each program last failed, by its name, and which schedulers are quarantined until when.
async fn ask_daemon() -> anyhow::Result<(BTreeMap<String, String>, BTreeMap<String, u64>)> {
    let client = Client::connect().await?;
    let entries: String = client.call("History", &ENTRIES).await?;
    let entries: Vec<Entry> = serde_json::from_str(&entries)?;
    let mut ends = BTreeMap::new();
    // The newest come first.
    for entry in entries {
        let of = match entry.event {
            Kind::Failed => entry.to,
            Kind::Exited => entry.from,
            _ => continue,
        };
        ends.entry(of)
            .or_insert_with(|| format!("{} {}", utc(entry.at), entry.error));
    }
    let quarantined = client.properties().await?.remove("Quarantined");
    let quarantined = quarantined
        .and_then(|value| BTreeMap::<String, u64>::try_from(value).ok())
        .unwrap_or_default();
    Ok((ends, quarantined))
}

fn write_text(out: &mut impl Write, lines: &[Line]) -> io::Result<()> {
    for line in lines {
        let state = match (&line.path, &line.error, &line.version) {
            (Some(_), _, Some(version)) => version.as_str(),
            (Some(_), _, None) => "installed",
            (None, Some(_), _) => "refused",
            (None, None, _) => "-",
        };
        let program = [&[line.command.clone()][..], &line.args].concat().join(" ");
        writeln!(
            out,
            "{:<20} {state:<10} {:<40} {}",
            line.name,
            program,
            line.note.unwrap_or_default()
        )?;
        if let Some(error) = &line.error {
            writeln!(out, "{:<20} {}", "", Styled(ERROR, sanitize(error)))?;
        }
        if let Some(until) = line.quarantined_until {
            let until = format!("quarantined until {}", utc(until));
            writeln!(out, "{:<20} {}", "", Styled(WARNING, until))?;
        }
        if let Some(end) = &line.last_end {
            writeln!(out, "{:<20} last end: {}", "", sanitize(end))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_scheduler_and_every_one_of_the_policy_is_listed_once() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("policies.yaml");
        let text = "version: 1\nschedulers:\n  bpfland: {command: scx_bpfland, args: [-m, performance]}\n  \
                    mine: {command: /opt/mine}\nrules: [{class: idle, use: [mine, bpfland]}]\n";
        std::fs::write(&config, text).unwrap();
        let installed = BTreeSet::from(["scx_cake".to_owned()]);
        let lines = lines(&config, &Reader::service(), &installed);
        assert_eq!(lines.len(), known::ALL.len() + 2);
        let cake = lines.iter().filter(|line| line.name == "cake");
        assert_eq!(cake.count(), 1, "installed, and known to nobody");
        let bpfland: Vec<_> = lines.iter().filter(|line| line.name == "bpfland").collect();
        assert_eq!(bpfland.len(), 1);
        assert_eq!(bpfland[0].args, ["-m", "performance"]);
        assert_eq!(
            super::lines(
                Path::new("/nonexistent"),
                &Reader::service(),
                &BTreeSet::new()
            )
            .len(),
            known::ALL.len()
        );
    }

    /// Writes a script that everybody can execute.
    fn script(path: &Path, lines: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        for path in [path, path.parent().unwrap()] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        path.display().to_string()
    }

    #[tokio::test]
    async fn listing_executes_no_program_but_known_schedulers_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let ran = directory.path().join("ran");
        let names = ["scx_cosmos", "scx_mine", "my-scheduler"];
        let script = |name: &str| {
            let lines = format!("echo {name} 1.0\ntouch {}", ran.display());
            script(&directory.path().join(name), &lines)
        };
        let paths = names.into_iter().map(script).collect();
        assert_eq!(versions(paths).await, BTreeMap::new());
        assert!(!ran.exists());
    }

    #[tokio::test]
    async fn who_is_asked_for_a_version_has_no_rights_and_no_environment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scx_a");
        let lines = "echo scx_a \"$(id -u):$(env | grep -c HOME=):$(pwd):$1\"";
        let said = version(&script(&path, lines)).await;
        let user = nix::unistd::geteuid();
        let user = if user.is_root() {
            NOBODY
        } else {
            user.as_raw()
        };
        assert_eq!(said, Some(format!("{user}:0:/:--version")));
        // What it prints is read up to a limit.
        let said = version(&script(&path, "echo scx_a 1.0; exec yes")).await;
        assert_eq!(said.as_deref(), Some("1.0"));
    }
}
