//! What was learned on this machine: one [`Record`] for each load and challenger. Kept as JSON that people can read.

use std::time::Duration;

use auto_ext_evidence::Verdict;
use auto_ext_policy::Scheduler;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::comparison::{Comparison, NotKept};
use crate::exchange::{Export, Exported};
use crate::key::{Here, Key, MAX_RECORDS};
use crate::record::Record;
use crate::yardstick::METRIC_VERSION;

/// The version of the file.
const VERSION: u32 = 1;
/// A record and what it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is about.
    #[serde(flatten)]
    pub key: Key,
    /// What is known.
    #[serde(flatten)]
    pub record: Record,
}

/// All that was learned, and what was spent on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Table {
    rows: Vec<Row>,
    /// What others found on machines like this one: no evidence here.
    imported: Vec<Exported>,
    pub(crate) budget: Budget,
}

/// A table in a file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(default)]
    records: Vec<Row>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    imported: Vec<Exported>,
    #[serde(default)]
    budget: Budget,
}

/// Why a file is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It is of another version.
    #[error("version {0} of the table is not known")]
    Version(u32),
    /// There are more records than are ever kept.
    #[error("{0} records are more than are ever kept")]
    TooMany(usize),
    /// A record, counted from 0, has numbers or texts that none can have.
    #[error("record {0} makes no sense")]
    Record(usize),
    /// The same of one that was imported.
    #[error("imported record {0} makes no sense")]
    Imported(usize),
}

impl Table {
    /// What is known about `key`.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Record> {
        let row = self.rows.iter().find(|row| row.key == *key)?;
        Some(&row.record)
    }

    /// All that is known.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The record about `key`, which is made if there is none.
    pub(crate) fn record(&mut self, key: &Key, at: Duration) -> &mut Record {
        let found = self.rows.iter().position(|row| row.key == *key);
        let index = found.unwrap_or_else(|| {
            self.make_room();
            let record = Record {
                last: at,
                ..Record::default()
            };
            self.rows.push(Row {
                key: key.clone(),
                record,
            });
            self.rows.len() - 1
        });
        &mut self.rows[index].record
    }

    /// Keeps what a comparison found about `key`, and says what that is. `at` is now, since 1970.
    ///
    /// # Errors
    /// When it is not decided.
    pub fn compare(
        &mut self,
        key: &Key,
        comparison: &Comparison,
        at: Duration,
    ) -> Result<Verdict, NotKept> {
        let (verdict, compared) = comparison.judge(at)?;
        self.record(key, at).compare(verdict, compared);
        Ok(verdict)
    }

    /// What was found on this machine, for others.
    #[must_use]
    pub fn export(&self) -> Export {
        let exported = |row: &Row| {
            let Row { key, record } = row;
            let is_about_one = key.scheduler.is_some() && key.metric == METRIC_VERSION;
            is_about_one.then_some(())?;
            let compared = record.compared().map_or(0, |compared| compared.pairs);
            Some(Exported {
                key: key.clone(),
                effect: record.effect()?,
                pairs: record.pairs().max(compared),
                is_proven: record.proven().is_some(),
                closed: record.closed(),
            })
        };
        Export::of(self.rows.iter().filter_map(exported).collect())
    }

    /// Takes in what others found, as far as it is about machines like this one. Returns how much that is.
    pub fn import(&mut self, export: Export, here: &Here) -> usize {
        let mut taken = 0;
        for exported in export.for_machine(here) {
            self.imported.retain(|other| other.key != exported.key);
            self.imported.push(exported);
            taken += 1;
        }
        let too_many = self.imported.len().saturating_sub(MAX_RECORDS);
        self.imported.drain(..too_many);
        taken
    }

    /// What others found on machines like this one, of which nothing was found here.
    pub fn imported(&self) -> impl Iterator<Item = &Exported> {
        let is_open = |exported: &&Exported| {
            let record = self.get(&exported.key);
            record.and_then(Record::effect).is_none()
        };
        self.imported.iter().filter(is_open)
    }

    /// Forgets what is known of a class, or everything.
    pub(crate) fn forget(&mut self, class: Option<&str>) {
        let stays = |key: &Key| class.is_some_and(|class| class != key.class);
        self.rows.retain(|row| stays(&row.key));
        self.imported.retain(|exported| stays(&exported.key));
    }

    /// What was last found of this scheduler under this load, on whichever kernel or machine: as the logarithm of a ratio. Where this
    /// machine found nothing, what others did.
    #[must_use]
    pub fn effect_elsewhere(&self, class: &str, scheduler: &Scheduler) -> Option<f64> {
        let about = |row: &&Row| {
            let build = row.key.scheduler.as_ref();
            row.key.class == class && build.is_some_and(|build| build.is_of(scheduler))
        };
        let found = self.rows.iter().filter(about);
        let found = found.filter_map(|row| Some((row.record.last, row.record.effect()?)));
        let found = found.max_by_key(|(last, _)| *last);
        let mut imported = self.imported.iter();
        let imported = imported.find(|exported| exported.is_about(class, scheduler));
        let found = found.map(|(_, effect)| effect);
        found.or_else(|| imported.map(|exported| exported.effect))
    }

    fn make_room(&mut self) {
        while self.rows.len() >= MAX_RECORDS {
            let rows = self.rows.iter().enumerate();
            let Some((oldest, _)) = rows.min_by_key(|(_, row)| row.record.last) else {
                return;
            };
            self.rows.remove(oldest);
        }
    }
}

impl TryFrom<Stored> for Table {
    type Error = TableError;

    fn try_from(stored: Stored) -> Result<Self, TableError> {
        if stored.version != VERSION {
            return Err(TableError::Version(stored.version));
        }
        if stored.records.len() > MAX_RECORDS {
            return Err(TableError::TooMany(stored.records.len()));
        }
        let is_wrong = |row: &Row| !row.key.is_sound() || !row.record.is_sound();
        if let Some(wrong) = stored.records.iter().position(is_wrong) {
            return Err(TableError::Record(wrong));
        }
        if stored.imported.len() > MAX_RECORDS {
            return Err(TableError::TooMany(stored.imported.len()));
        }
        let is_wrong = |exported: &Exported| !exported.is_sound();
        if let Some(wrong) = stored.imported.iter().position(is_wrong) {
            return Err(TableError::Imported(wrong));
        }
        Ok(Self {
            rows: stored.records,
            imported: stored.imported,
            budget: stored.budget.bounded(),
        })
    }
}

impl From<Table> for Stored {
    fn from(table: Table) -> Self {
        Self {
            version: VERSION,
            records: table.rows,
            imported: table.imported,
            budget: table.budget,
        }
    }
}

#[cfg(test)]
mod tests {
    use auto_ext_policy::{Goal, Power};

    use super::*;
    use crate::key::Machine;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn scheduler() -> Scheduler {
        Scheduler {
            name: "flash".into(),
            command: "scx_flash".into(),
            args: vec!["-w".into()],
        }
    }

    fn here(build: &str) -> Here {
        Here {
            machine: Machine {
                kernel: "7.2.13".into(),
                ..Machine::default()
            },
            builds: [("scx_flash".to_owned(), build.to_owned())].into(),
        }
    }

    fn key(build: &str) -> Key {
        Key::here(
            &here(build),
            "a",
            Goal::Latency,
            Some(&scheduler()),
            Some(Power::Ac),
            None,
        )
        .unwrap()
    }

    #[test]
    fn a_table_is_kept_as_json() {
        let mut table = Table::default();
        let record = table.record(&key("1"), NOW);
        record.ratios = vec![0.25, -0.5];
        record.bench("a task waited", NOW);
        table.budget.switch(NOW);
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
        for (text, wrong) in [
            (
                r#"{"version": 2}"#.to_owned(),
                "version 2 of the table is not known",
            ),
            (json.replace("0.25", "1e999"), "out of range"),
            (
                json.replace("\"a\"", "\"\\u001b\""),
                "record 0 makes no sense",
            ),
            (
                json.replace("[0.25,", &format!("[{}", "0.1,".repeat(30))),
                "record 0 makes no sense",
            ),
            (json.replace("latency", "speed"), "unknown variant"),
            ("{}".to_owned(), "missing field `version`"),
        ] {
            let error = serde_json::from_str::<Table>(&text)
                .unwrap_err()
                .to_string();
            assert!(error.contains(wrong), "{error}");
        }
        assert_eq!(
            serde_json::from_str::<Table>(r#"{"version": 1}"#).unwrap(),
            Table::default()
        );
    }

    #[test]
    fn another_build_is_another_scheduler_and_keeps_its_place_in_the_order() {
        let mut table = Table::default();
        table.record(&key("1"), NOW).ratios = vec![0.3];
        assert_eq!(table.get(&key("2")), None);
        assert_eq!(table.effect_elsewhere("a", &scheduler()), Some(0.3));
        assert_eq!(table.effect_elsewhere("b", &scheduler()), None);
        let without_build = Here::default();
        let unknown = Key::here(
            &without_build,
            "a",
            Goal::Latency,
            Some(&scheduler()),
            None,
            None,
        );
        assert_eq!(unknown, None);
    }

    #[test]
    fn what_others_found_is_no_evidence_and_counts_for_machines_like_theirs() {
        let mut theirs = Table::default();
        theirs.record(&key("1"), NOW).ratios = vec![0.3];
        theirs.record(&key("other build"), NOW).ratios = vec![0.3];
        theirs.record(&key("nothing found"), NOW);
        let export = theirs.export();
        assert_eq!(export.records().len(), 2);
        let json = serde_json::to_string(&export).unwrap();
        let export: Export = serde_json::from_str(&json).unwrap();
        let mut table = Table::default();
        let elsewhere = Here {
            machine: Machine::default(),
            ..here("1")
        };
        assert_eq!(table.import(export.clone(), &elsewhere), 0);
        assert_eq!(table.import(export.clone(), &here("1")), 1);
        assert_eq!(table.import(export, &here("1")), 1);
        assert_eq!(table.imported().count(), 1);
        assert_eq!(table.get(&key("1")), None);
        assert_eq!(table.effect_elsewhere("a", &scheduler()), Some(0.3));
        assert!(table.export().records().is_empty(), "it is not theirs");
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
        // What is found here stands above it.
        table.record(&key("1"), NOW).ratios = vec![-0.1];
        assert_eq!(table.effect_elsewhere("a", &scheduler()), Some(-0.1));
        assert_eq!(table.imported().count(), 0);
        table.forget(Some("a"));
        assert_eq!(table.effect_elsewhere("a", &scheduler()), None);
    }

    #[test]
    fn an_export_that_makes_no_sense_is_refused_with_its_record() {
        let mut table = Table::default();
        table.record(&key("1"), NOW).ratios = vec![0.25];
        let json = serde_json::to_string(&table.export()).unwrap();
        assert!(serde_json::from_str::<Export>(&json).is_ok());
        for (text, wrong) in [
            (json.replace("\"export\":1", "\"export\":2"), "version 2"),
            (json.replace("0.25", "1e999"), "out of range"),
            (json.replace("\"a\"", "\"\\u001b\""), "`records[0]`"),
            (json.replace("\"effect\":0.25,", ""), "missing field"),
            ("{".to_owned(), "line 1"),
        ] {
            let error = serde_json::from_str::<Export>(&text).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }

    #[test]
    fn whatever_is_tried_the_table_is_bounded_and_forgets_the_oldest() {
        let mut table = Table::default();
        for n in 0..2 * MAX_RECORDS {
            let at = NOW + Duration::from_secs(n as u64);
            table.record(&key(&n.to_string()), at);
        }
        assert_eq!(table.rows().len(), MAX_RECORDS);
        assert_eq!(table.get(&key("0")), None);
        assert!(
            table
                .get(&key(&(2 * MAX_RECORDS - 1).to_string()))
                .is_some()
        );
        table.forget(Some("b"));
        assert_eq!(table.rows().len(), MAX_RECORDS);
        table.forget(Some("a"));
        assert!(table.rows().is_empty());
    }
}
