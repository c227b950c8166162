//! From collected bursts to a model file, and from a model to the numbers that the kernel gets. What is learned, and whether that
//! is good enough, is decided in foresight-model.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use auto_ext_service::clock::now_us;
use foresight_model::disk::{SampleFile, read_model, write_model};
use foresight_model::export::{Format, export as exported};
use foresight_model::file::{Model, Moves, Standing, standing};
use foresight_model::origin::Origin;
use foresight_model::train::{Recording, Teacher, train as learn};

use crate::memory::MADE_BY;
use crate::options::Train;

/// Reads the files, says how well what was learned of them does on what came later, and writes it if it does better.
pub(crate) fn train(options: &Train, out: &mut dyn Write) -> Result<()> {
    let mut recordings = Vec::new();
    let mut first: Option<Origin> = None;
    for path in &options.files {
        let file = SampleFile::open(path)?;
        let origin = &file.header().origin;
        let first = first.get_or_insert_with(|| origin.clone());
        // A model says of one of each that it has proven itself there.
        ensure!(
            (&origin.kernel, &origin.machine) == (&first.kernel, &first.machine),
            "{}: recorded on another machine or under another kernel than {}",
            path.display(),
            options.files[0].display()
        );
        let mut recording = Recording::default();
        for sample in file {
            recording.add(sample?);
        }
        recordings.push(recording);
    }
    let origin = Origin {
        made_by: MADE_BY.to_owned(),
        made_us: now_us(),
        ..first.unwrap_or_default()
    };
    let before = read_model(&options.out)?;
    let moves = before.as_ref().and_then(|model| model.moves.as_ref());
    let incumbent = moves.map(Moves::quantised).transpose()?;
    let teacher = if options.imitate {
        Teacher::Rule
    } else {
        Teacher::Outcomes
    };
    let trained = learn(
        &recordings,
        origin,
        teacher,
        incumbent.as_ref(),
        options.seed,
    );
    write!(out, "{}", trained.report).context("cannot write")?;
    let mut model = trained.accept(options.force)?;
    if let Some(before) = before {
        keep_the_rest(&mut model, before);
    }
    Ok(write_model(&options.out, &model)?)
}

/// Of a kind of which nothing new is any better the old stays, unless it has proven nothing where the new was learned.
fn keep_the_rest(model: &mut Model, before: Model) {
    if standing(&before, &model.origin.kernel, &model.origin.machine) != Standing::Proven {
        return;
    }
    if model.programs.is_empty() {
        model.programs = before.programs;
    }
    model.moves = model.moves.take().or(before.moves);
}

/// Writes what the kernel gets of the model at `path`.
pub(crate) fn export(path: &Path, format: Format, out: &mut dyn Write) -> Result<()> {
    let model = read_model(path)?;
    let model = model.with_context(|| format!("{}: there is no such file", path.display()))?;
    let numbers = exported(&model, format).with_context(|| path.display().to_string())?;
    write!(out, "{numbers}").context("cannot write")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;
    use foresight_model::fixed::ONE;
    use foresight_model::samples::{BurstSample, Header, Sample, VERSION};

    use super::*;
    use crate::options::{Cli, Command};

    fn options(words: &[&str]) -> Train {
        let words = [&["scx_foresight", "train"], words].concat();
        match Cli::try_parse_from(words).unwrap().command {
            Some(Command::Train(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    /// A file of one task whose bursts are twice and half the average by turns.
    fn recorded(path: &Path) {
        let header = Header {
            samples: VERSION,
            features: foresight_model::origin::FEATURES,
            origin: Origin::default(),
            explore: 0.0,
        };
        let mut text = header.to_line();
        for burst in 0..20_000 {
            let deviation = if burst % 2 == 0 { ONE } else { -ONE };
            let mut x = [0; 8];
            (x[0], x[1]) = (ONE, -deviation);
            let burst = BurstSample {
                at_ns: burst * 10_000_000,
                pid: 7,
                comm: "make".to_owned(),
                x,
                y: 20 * ONE + deviation,
                ewma: 20 * ONE,
            };
            text.push_str(&Sample::Burst(burst).to_line());
        }
        fs::write(path, text).unwrap();
    }

    #[test]
    fn what_was_collected_becomes_a_model_and_a_model_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let [samples, model] = ["samples", "model.json"].map(|name| directory.path().join(name));
        recorded(&samples);
        let words = [samples.to_str().unwrap(), "--out", model.to_str().unwrap()];
        let mut report = Vec::new();
        train(&options(&words), &mut report).unwrap();
        assert!(!report.is_empty());
        let mut numbers = Vec::new();
        export(&model, Format::Csv, &mut numbers).unwrap();
        let numbers = String::from_utf8(numbers).unwrap();
        assert!(numbers.contains("make"), "{numbers}");
        assert!(
            read_model(&model)
                .unwrap()
                .unwrap()
                .to_programs()
                .prior("make")
                .is_some()
        );
    }

    #[test]
    fn of_nothing_there_is_no_model() {
        let directory = tempfile::tempdir().unwrap();
        let model = directory.path().join("model.json");
        let words = ["/no/such", "--out", model.to_str().unwrap()];
        let error = train(&options(&words), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("/no/such"), "{error}");
        assert!(export(&model, Format::C, &mut Vec::new()).is_err());
        assert!(!model.exists());
    }
}
