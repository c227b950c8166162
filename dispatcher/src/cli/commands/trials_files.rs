//! `auto-ext trials --export` and `--import`: what was found, from one machine to others of the same kind.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use auto_ext_policy::Policy;
use auto_ext_service::daemon_lock::DaemonLock;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_trials::Export;

use super::client::Client;
use super::new_file;
use crate::api::request::MAX_EXPORT;
use crate::daemon::{LOCK, learning, state_directory};
use crate::persistence::trial_store;
use crate::sources::conditions::here_with;
use crate::sources::read_policy;

/// Writes what was found on this machine.
pub(super) fn export(path: &Path) -> anyhow::Result<()> {
    let table = trial_store::kept(&state_directory())?;
    let export = table.export();
    if export.records().is_empty() {
        bail!("nothing was found on this machine yet");
    }
    let mut file = new_file::create(path)?;
    let text = serde_json::to_string_pretty(&export)?;
    writeln!(file, "{text}").with_context(|| format!("{}: cannot be written", path.display()))
}

/// Has the daemon take in what is in a file, or as root without one does it itself. Returns what became of it.
pub(super) async fn import(path: &Path) -> anyhow::Result<String> {
    let text = read(path)?;
    // Whoever made a mistake in the file is to hear in which line.
    let export = parse(path, &text)?;
    let imported = match Client::connect().await {
        Ok(client) => client.call("Import", &text).await,
        Err(error) => Err(error),
    };
    match imported {
        Err(error) if is_gone(&error) && nix::unistd::geteuid().is_root() => directly(export),
        imported => imported,
    }
}

/// Takes it in where no daemon runs, whose lock is ours meanwhile.
fn directly(export: Export) -> anyhow::Result<String> {
    let _lock = DaemonLock::take("auto-ext", "trials", Path::new(LOCK))?;
    let installed = Path::new(read_policy::INSTALLED);
    let policy = match installed.exists() {
        true => read_policy::load(installed)?,
        false => Policy::default(),
    };
    let here = here_with(&policy);
    let all = export.records().len();
    let import = |table: &mut auto_ext_trials::Table| table.import(export, &here);
    let taken = trial_store::change(&state_directory(), import)?;
    Ok(learning::imported(taken, all))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let in_file = || format!("{}: cannot be read", path.display());
    let file = File::open(path).with_context(in_file)?;
    let mut text = String::new();
    let mut bounded = file.take(MAX_EXPORT as u64 + 1);
    bounded.read_to_string(&mut text).with_context(in_file)?;
    if text.len() > MAX_EXPORT {
        bail!("{}: has more than {MAX_EXPORT} bytes", path.display());
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> anyhow::Result<Export> {
    serde_json::from_str(text).map_err(|error| {
        let place = match error.line() {
            0 => String::new(),
            line => format!(":{line}"),
        };
        let text = format!("{}{place}: error: {error}", path.display());
        WithCode::error(Code::Failed, text)
    })
}

fn is_gone(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<WithCode>().map(|error| error.code);
    code == Some(Code::NoDaemon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("export");
        for (text, says) in [
            ("{\"export\": 1,\n \"records\": [}", "export:2: error:"),
            ("{\"export\": 7, \"records\": []}", "version 7 of exports"),
            (
                "{\"export\": 1, \"records\": [\n{\"class\": 1}]}",
                "export:2: error:",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let text = read(&path).unwrap();
            let error = parse(&path, &text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        std::fs::write(&path, " ".repeat(MAX_EXPORT + 1)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("has more than"), "{error}");
        assert!(read(directory.path()).is_err());
    }
}
