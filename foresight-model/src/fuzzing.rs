//! What must hold of every model file and of all samples that there might be; the fuzz target in `fuzz/` calls it. Making them up
//! is left to `fuzz`.

use crate::export::{Format, export};
use crate::file::{self, Invalid, Model};
use crate::fixed::{MAX_FEATURE, ONE};
use crate::moves::INPUTS;
use crate::samples::{Reader, Sample};

/// As a model file, once as it is and once with the right sum, and as lines of samples. What is read is bounded, and written as
/// it was read; what is wrong is told in one line.
pub fn input(data: &[u8]) {
    model(file::parse(data));
    let text = String::from_utf8_lossy(data);
    model(file::parse(file::sealed(text.trim_end()).as_bytes()));
    samples(data);
}

fn model(parsed: Result<Model, Invalid>) {
    let model = match parsed {
        Ok(model) => model,
        Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error}"),
    };
    let again = file::to_text(&model).map(|text| file::parse(text.as_bytes()));
    assert_eq!(again, Ok(Ok(model.clone())));
    for format in [Format::C, Format::Json, Format::Csv] {
        export(&model, format).expect("what is read fits the kernel");
    }
    let network = model.moves.map(|moves| moves.quantised());
    if let Some(network) = network {
        let network = network.expect("what is read fits the kernel");
        for ends in [-MAX_FEATURE * ONE, 0, MAX_FEATURE * ONE] {
            // Overflows panic in what is fuzzed.
            let _ = network.moves(&[ends; INPUTS]);
        }
    }
}

fn samples(data: &[u8]) {
    let mut reader = Reader::default();
    for line in data.split(|byte| *byte == b'\n') {
        match reader.line(line) {
            Ok(None) => {}
            Ok(Some(sample)) => {
                let header = reader.header().expect("it comes first").to_line();
                let mut again = Reader::default();
                assert_eq!(again.line(header.as_bytes()), Ok(None));
                if let Sample::Move(considered) = &sample {
                    assert!((-20.0..=0.0).contains(&considered.reward_ms()));
                }
                let line = sample.to_line();
                assert_eq!(again.line(line.as_bytes()), Ok(Some(sample)));
            }
            Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_fuzzing_found_stays_found() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/foresight");
        let inputs = fs::read_dir(corpus).unwrap();
        let paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
        assert!(!paths.is_empty());
        for path in paths {
            println!("{}", path.display());
            input(&fs::read(path).unwrap());
        }
    }
}
