//! What trials found on this machine, each of their pairs, and what somebody consents to, over restarts of the daemon.
//!
//! What was found and the consent are replaced as a whole. Pairs are appended to a file that is put aside when it is long, in the place
//! of the one that was put aside before, so that there are never more than two. What was found is trusted only if it is a
//! table in a file that nobody else can write; anything else is set aside, and nothing is known then. What is found is decided in `trials`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use auto_ext_service::atomic_file;
use auto_ext_trials::{PairRecord, Table};
use serde::{Deserialize, Serialize};

const TABLE: &str = "trials.json";
/// What is appended to the name of a table that cannot be used.
const SET_ASIDE: &str = "unusable";
const CONSENT: &str = "consent.json";
const PAIRS: &str = "pairs.jsonl";
/// Those that were put aside.
const EARLIER_PAIRS: &str = "pairs.1.jsonl";
/// Five hundred records, each with its pairs, are a third of that.
const MAX_TABLE: u64 = 4 << 20;
const MAX_CONSENT: u64 = 4096;
/// From which size on pairs are put aside, in bytes: more than a thousand of them.
const LONG: u64 = 1 << 20;
/// Whose bits in a file's mode let others write it.
const OTHERS_WRITE: u32 = 0o022;

/// What somebody consents to, as the file has it. Times are CLOCK_REALTIME in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptConsent {
    /// Until when.
    pub(crate) until: u64,
    /// Until when the shares of the budget do not count.
    pub(crate) lifted_until: u64,
}

/// What was kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) table: Table,
    pub(crate) consent: Option<KeptConsent>,
}

/// Why a table is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("belongs to user {0}")]
    Foreign(u32),
    #[error("can be written by others (mode {0:o})")]
    Open(u32),
    #[error("has more than {MAX_TABLE} bytes")]
    TooLong,
    #[error("is no table of trials: {0}")]
    NoTable(#[from] serde_json::Error),
}

/// The files, and the thread that writes them.
#[derive(Debug)]
pub(crate) struct TrialStore {
    writer: Option<(mpsc::Sender<Work>, JoinHandle<()>)>,
}

/// What is to be written.
#[derive(Debug)]
enum Work {
    Table(Box<Table>),
    Pair(Box<PairRecord>),
    Consent(Option<KeptConsent>),
}

impl TrialStore {
    /// The files in `directory`, and what is in them.
    pub(crate) fn open(directory: &Path) -> (Self, Kept) {
        let kept = Kept {
            table: read_table(directory),
            consent: read_consent(directory),
        };
        let (work, queue) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("trials".to_owned())
            .spawn({
                let directory = directory.to_owned();
                move || write(&directory, &queue)
            })
            .inspect_err(|error| tracing::warn!("what trials find will be forgotten: {error}"))
            .ok()
            .map(|thread| (work, thread));
        (Self { writer }, kept)
    }

    /// Keeps what was found.
    pub(crate) fn keep_table(&self, table: Table) {
        self.send(Work::Table(Box::new(table)));
    }

    /// Keeps a pair.
    pub(crate) fn keep_pair(&self, pair: Box<PairRecord>) {
        self.send(Work::Pair(pair));
    }

    /// Keeps what somebody consents to; `None`: nothing.
    pub(crate) fn keep_consent(&self, consent: Option<KeptConsent>) {
        self.send(Work::Consent(consent));
    }

    fn send(&self, work: Work) {
        if let Some((writer, _)) = &self.writer {
            // The thread ends only with the sender.
            let _ = writer.send(work);
        }
    }

    /// Waits until all is written.
    pub(crate) fn close(mut self) {
        if let Some((work, thread)) = self.writer.take() {
            drop(work);
            // It does not panic, and if it did there would be nothing to be done.
            let _ = thread.join();
        }
    }
}

/// Changes what is kept in `directory`. Only for who holds the lock of the daemon, which keeps it all the time that it runs.
///
/// # Errors
/// When what is there cannot be trusted, and is left as it is, or nothing can be written.
pub(crate) fn change<T>(
    directory: &Path,
    change: impl FnOnce(&mut Table) -> T,
) -> anyhow::Result<T> {
    let path = directory.join(TABLE);
    let in_file = || format!("{}", path.display());
    let mut table = table(&path).with_context(in_file)?;
    let changed = change(&mut table);
    fs::create_dir_all(directory).with_context(in_file)?;
    put(directory, &Work::Table(Box::new(table))).with_context(in_file)?;
    Ok(changed)
}

/// What is kept in `directory`, for who changes nothing.
///
/// # Errors
/// When it cannot be read, or not be trusted.
pub(crate) fn kept(directory: &Path) -> anyhow::Result<Table> {
    let path = directory.join(TABLE);
    table(&path).with_context(|| format!("{}", path.display()))
}

/// The files with the pairs in `directory`, the earlier ones first. One may be missing.
pub(crate) fn pair_files(directory: &Path) -> [PathBuf; 2] {
    [EARLIER_PAIRS, PAIRS].map(|name| directory.join(name))
}

/// The table in the file; an empty one where there is none, or none that can be trusted.
fn read_table(directory: &Path) -> Table {
    let path = directory.join(TABLE);
    let why = match table(&path) {
        Ok(table) => return table,
        Err(why) => why,
    };
    let aside = path.with_added_extension(SET_ASIDE);
    let where_to = match fs::rename(&path, &aside) {
        Ok(()) => format!("it is now {}", aside.display()),
        Err(error) => format!("it cannot be set aside: {error}"),
    };
    let path = path.display();
    tracing::error!("{path} {why}; {where_to}. Nothing is known of trials, they begin anew");
    Table::default()
}

fn table(path: &Path) -> Result<Table, Unusable> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Table::default()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    // What root has written anybody may believe.
    if ![nix::unistd::geteuid().as_raw(), 0].contains(&metadata.uid()) {
        return Err(Unusable::Foreign(metadata.uid()));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(Unusable::Open(metadata.mode() & 0o7777));
    }
    let mut bytes = Vec::new();
    file.take(MAX_TABLE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TABLE {
        return Err(Unusable::TooLong);
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// What somebody consented to. A file that makes no sense is no consent.
fn read_consent(directory: &Path) -> Option<KeptConsent> {
    let path = directory.join(CONSENT);
    let bytes = atomic_file::read(&path, MAX_CONSENT)
        .inspect_err(|error| tracing::warn!("{} cannot be read: {error}", path.display()))
        .ok()?;
    if bytes.is_empty() {
        return None;
    }
    serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!("{} is no consent: {error}", path.display()))
        .ok()?
}

/// Writes what is sent until nothing can be sent any more.
fn write(directory: &Path, queue: &mpsc::Receiver<Work>) {
    let mut trouble = false;
    let mut next = queue.recv().ok();
    while let Some(work) = next.take() {
        let mut later = queue.try_recv().ok();
        // Of several tables only the last counts.
        let is_old = matches!((&work, &later), (Work::Table(_), Some(Work::Table(_))));
        let written = if is_old {
            Ok(())
        } else {
            put(directory, &work)
        };
        match written {
            Ok(()) if is_old => {}
            Ok(()) => trouble = false,
            Err(error) => {
                if !std::mem::replace(&mut trouble, true) {
                    let directory = directory.display();
                    tracing::warn!("what trials find will be forgotten: {directory}: {error}");
                }
            }
        }
        next = later.take().or_else(|| queue.recv().ok());
    }
}

fn put(directory: &Path, work: &Work) -> io::Result<()> {
    let replace = |name, text: String| atomic_file::replace(&directory.join(name), [text.as_str()]);
    match work {
        Work::Table(table) => replace(TABLE, serde_json::to_string(table)?),
        Work::Consent(consent) => replace(CONSENT, serde_json::to_string(consent)?),
        Work::Pair(pair) => append(directory, &serde_json::to_string(pair)?),
    }
}

/// Adds a line, in a file of its own if the one that is there is long.
fn append(directory: &Path, line: &str) -> io::Result<()> {
    let [earlier, path] = pair_files(directory);
    let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
    if size >= LONG {
        fs::rename(&path, &earlier)?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o644)
        .open(&path)?;
    // A power loss may have cut off the last line.
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    let before = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{before}{line}\n").as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A table as it is written, with one record.
    const TEXT: &str = r#"{"version": 1, "records": [{"class": "a", "goal": "latency",
        "scheduler": {"command": "scx_flash", "args": [], "build": "1"}, "opponent": null,
        "kernel": "7.2", "cpu": "x", "cpus": 2, "smt": false, "power": "ac", "profile": null, "metric": 1,
        "ratios": [0.5], "pairs": 1}]}"#;

    fn write_table(directory: &Path, text: &str, mode: u32) {
        let path = directory.join(TABLE);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn records(directory: &Path) -> usize {
        let (store, kept) = TrialStore::open(directory);
        store.close();
        kept.table.rows().len()
    }

    fn pair() -> PairRecord {
        let key = serde_json::from_str::<Table>(TEXT).unwrap().rows()[0]
            .key
            .clone();
        PairRecord {
            at: std::time::Duration::from_secs(1_800_000_000),
            key,
            candidate_first: true,
            candidate: None,
            incumbent: None,
            ratio: None,
            guards: Default::default(),
            e_better: 1.0,
            e_worse: 1.0,
            end: auto_ext_trials::PairEnd::Dropped("pinned".into()),
        }
    }

    #[test]
    fn what_was_found_and_consented_to_outlives_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(records(directory), 0);
        let table: Table = serde_json::from_str(TEXT).unwrap();
        let consent = KeptConsent {
            until: 7,
            lifted_until: 3,
        };
        let (store, _) = TrialStore::open(directory);
        store.keep_table(Table::default());
        store.keep_table(table.clone());
        store.keep_consent(Some(consent));
        store.close();
        let (store, kept) = TrialStore::open(directory);
        assert_eq!((&kept.table, kept.consent), (&table, Some(consent)));
        store.keep_consent(None);
        store.close();
        assert_eq!(read_consent(directory), None);
        fs::write(directory.join(CONSENT), "{\"until\":").unwrap();
        assert_eq!(read_consent(directory), None);
    }

    #[test]
    fn a_table_that_cannot_be_trusted_is_set_aside_and_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let aside = directory.join("trials.json.unusable");
        write_table(directory, TEXT, 0o644);
        assert_eq!(records(directory), 1);
        let long = format!("{TEXT}{}", " ".repeat(usize::try_from(MAX_TABLE).unwrap()));
        for (text, mode) in [
            (TEXT, 0o666),
            (&TEXT[..TEXT.len() - 9], 0o644),
            ("\0\u{fffd}", 0o644),
            (r#"{"version": 99}"#, 0o644),
            (&long, 0o644),
        ] {
            write_table(directory, text, mode);
            assert_eq!(records(directory), 0, "{mode:o}");
            assert!(!directory.join(TABLE).exists());
            assert_eq!(fs::read_to_string(&aside).unwrap(), text);
        }
        // Another is written in its place.
        let (store, _) = TrialStore::open(directory);
        store.keep_table(serde_json::from_str(TEXT).unwrap());
        store.close();
        assert_eq!(records(directory), 1);
    }

    #[test]
    fn who_holds_the_lock_changes_what_is_kept_and_nothing_that_cannot_be_trusted() {
        let run = tempfile::tempdir().unwrap();
        let directory = run.path().join("auto-ext");
        let theirs: Table = serde_json::from_str(TEXT).unwrap();
        let theirs = theirs.clone();
        change(&directory, |table| *table = theirs.clone()).unwrap();
        assert_eq!(kept(&directory).unwrap(), theirs);
        write_table(&directory, "{}", 0o644);
        let error = change(&directory, |_| ()).unwrap_err();
        assert!(
            format!("{error:#}").contains("is no table of trials"),
            "{error:#}"
        );
        let text = fs::read_to_string(directory.join(TABLE)).unwrap();
        assert_eq!(text, "{}");
    }

    #[test]
    fn pairs_are_lines_of_two_files_at_most() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let [earlier, path] = pair_files(directory);
        let keep = |count: usize| {
            let (store, _) = TrialStore::open(directory);
            (0..count).for_each(|_| store.keep_pair(Box::new(pair())));
            store.close();
        };
        keep(2);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<PairRecord> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines, [pair(), pair()]);
        // What a power loss cut off costs no other line.
        fs::write(&path, &text[..text.len() - 9]).unwrap();
        keep(1);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(serde_json::from_str::<PairRecord>(text.lines().last().unwrap()).is_ok());
        for _ in 0..2 {
            fs::write(
                &path,
                format!("{}\n", "x".repeat(usize::try_from(LONG).unwrap())),
            )
            .unwrap();
            keep(1);
            assert!(fs::metadata(&earlier).unwrap().len() > LONG);
            assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        }
        assert_eq!(fs::read_dir(directory).unwrap().count(), 2);
    }
}
