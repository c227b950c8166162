//! What ran before the first request of each client of org.scx.Loader, kept in the runtime directory: who puts it back after the
//! daemon was restarted is understood, and a boot forgets it. What cannot be read is nothing.

use std::path::Path;

use auto_ext_service::atomic_file;

use crate::scx_loader::clients::Clients;
use crate::scx_loader::{Mode, supported};

const FILE: &str = "loader-clients.json";

/// The size of a file that is taken for one of ours, in bytes.
const MAX_FILE: u64 = 16 << 10;

/// A client, and the program and the number of the mode that ran.
type Entry = (String, Option<(String, u32)>);

/// Those of before.
pub(crate) fn read(directory: &Path) -> Clients {
    let Ok(bytes) = atomic_file::read(&directory.join(FILE), MAX_FILE) else {
        return Clients::default();
    };
    let entries: Vec<Entry> = serde_json::from_slice(&bytes).unwrap_or_default();
    let known = |(client, ran): Entry| {
        let ran = match ran {
            None => None,
            Some((command, mode)) => {
                Some((supported(&command)?.to_owned(), Mode::of_number(mode)?))
            }
        };
        Some((client, ran))
    };
    entries.into_iter().filter_map(known).collect()
}

/// These are for the next daemon.
pub(crate) fn write(directory: &Path, clients: &Clients) {
    let entry = |(client, ran): &(String, Option<(String, Mode)>)| -> Entry {
        let ran = ran.as_ref();
        let ran = ran.map(|(command, mode)| (command.clone(), mode.number()));
        (client.clone(), ran)
    };
    let entries: Vec<Entry> = clients.all().map(entry).collect();
    let text = serde_json::to_string(&entries).map_err(std::io::Error::from);
    let written = text.and_then(|text| atomic_file::replace(&directory.join(FILE), [&*text]));
    if let Err(error) = written {
        tracing::warn!("what ran before is forgotten at a restart: {FILE}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_next_daemon_knows_what_ran_and_takes_nothing_else_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let all = |clients: &Clients| clients.all().cloned().collect::<Vec<_>>();
        assert_eq!(all(&read(directory.path())), []);
        let clients: Clients = [
            ("falcond".to_owned(), None),
            (
                "power-profiles-daemon".to_owned(),
                Some(("scx_lavd".to_owned(), Mode::Gaming)),
            ),
        ]
        .into_iter()
        .collect();
        write(directory.path(), &clients);
        assert_eq!(all(&read(directory.path())), all(&clients));
        for text in [
            "",
            "{}",
            "[[\"falcond\", [\"sh\", 0]], [\"falcond\", [\"scx_lavd\", 99]]]",
        ] {
            fs::write(directory.path().join(FILE), text).unwrap();
            assert_eq!(all(&read(directory.path())), [], "{text}");
        }
    }
}
