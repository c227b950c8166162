//! From lines to samples. A file may come from anybody: everything has a limit.

use auto_ext_service::sanitize::sanitize;
use serde::Deserialize;

use super::format::{BurstSample, Header, MAX_SAMPLES, MoveSample, Sample, VERSION};
use crate::fixed::{MAX_FEATURE, ONE};
use crate::origin::FEATURES;

/// How long a thread's name is at most: 15 bytes, each of which may have been replaced by three.
const MAX_COMM: usize = 45;
/// How long a message is at most, in characters.
const MAX_MESSAGE: usize = 200;

/// What can be wrong with a line.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The first line is no header.
    #[error("these are no samples: the first line is not a JSON object with a number `samples`")]
    NoSamples,
    /// The header says that the rest is in another format.
    #[error("the samples have version {0} of the format; this reads version {VERSION}")]
    Version(u32),
    /// The samples have other features.
    #[error("the samples have version {0} of the features; this reads version {FEATURES}")]
    Features(u32),
    /// It is no JSON, or not that of a sample.
    #[error("column {column}: {message}")]
    Json {
        /// Where, in bytes from 1.
        column: usize,
        /// What.
        message: String,
    },
    /// A value that there is not.
    #[error("`{0}` has a value that it cannot have")]
    Value(&'static str),
    /// There are more than a file may have.
    #[error("there are more than {MAX_SAMPLES} samples")]
    TooMany,
}

/// What any version has.
#[derive(Deserialize)]
struct AnyHeader {
    samples: u32,
}

/// What was read so far.
#[derive(Debug, Default)]
pub struct Reader {
    header: Option<Header>,
    samples: u64,
}

impl Reader {
    /// The first line, once it was read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// What the next line is: nothing, if it is the header or empty.
    ///
    /// # Errors
    /// When it is wrong.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Sample>, Problem> {
        if self.header.is_none() {
            self.header = Some(read_header(line)?);
            return Ok(None);
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        self.samples += 1;
        if self.samples > MAX_SAMPLES {
            return Err(Problem::TooMany);
        }
        let mut sample = serde_json::from_slice(line).map_err(|error| json(&error))?;
        match &mut sample {
            Sample::Burst(burst) => check_burst(burst)?,
            Sample::Move(considered) => check_move(considered)?,
        }
        Ok(Some(sample))
    }
}

fn read_header(line: &[u8]) -> Result<Header, Problem> {
    let AnyHeader { samples } = serde_json::from_slice(line).map_err(|_| Problem::NoSamples)?;
    if samples != VERSION {
        return Err(Problem::Version(samples));
    }
    let header: Header = serde_json::from_slice(line).map_err(|error| json(&error))?;
    if header.features != FEATURES {
        return Err(Problem::Features(header.features));
    }
    if let Some(key) = header.origin.fault() {
        return Err(Problem::Value(key));
    }
    if !(0.0..=0.5).contains(&header.explore) {
        return Err(Problem::Value("explore"));
    }
    Ok(header)
}

fn check_burst(burst: &mut BurstSample) -> Result<(), Problem> {
    check("x", burst.x.iter().all(is_feature))?;
    check("y", (0..64 * ONE).contains(&burst.y))?;
    check("ewma", (0..64 * ONE).contains(&burst.ewma))?;
    check("comm", burst.comm.len() <= MAX_COMM)?;
    burst.comm = sanitize(&burst.comm);
    Ok(())
}

fn check_move(considered: &MoveSample) -> Result<(), Problem> {
    check("x", considered.x.iter().all(is_feature))?;
    let likely = considered.propensity > 0.0 && considered.propensity <= 1.0;
    check("propensity", likely)
}

fn check(key: &'static str, holds: bool) -> Result<(), Problem> {
    if holds {
        Ok(())
    } else {
        Err(Problem::Value(key))
    }
}

fn is_feature(x: &i32) -> bool {
    (-MAX_FEATURE * ONE..=MAX_FEATURE * ONE).contains(x)
}

/// What is wrong, without what might steer a terminal.
fn json(error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    // Where, is said apart; a line has one line.
    let message = message.split(" at line ").next().unwrap_or_default();
    let message = sanitize(message).chars().take(MAX_MESSAGE).collect();
    Problem::Json {
        column: error.column(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burst;
    use crate::moves::INPUTS;
    use crate::origin::{Machine, Origin};

    fn header() -> Header {
        Header {
            samples: VERSION,
            features: FEATURES,
            origin: Origin {
                made_by: "test".to_owned(),
                made_us: 1,
                kernel: "6.18.0".to_owned(),
                machine: Machine::default(),
            },
            explore: 0.02,
        }
    }

    fn samples() -> [Sample; 2] {
        let burst = BurstSample {
            at_ns: 1,
            pid: 2,
            comm: "make".to_owned(),
            x: [ONE; burst::FEATURES],
            y: 17 * ONE,
            ewma: 18 * ONE,
        };
        let considered = MoveSample {
            at_ns: 3,
            pid: 2,
            x: [-ONE; INPUTS],
            moved: true,
            propensity: 0.98,
            waited_ns: 1_000_000,
            ran_ns: 5,
            predicted_ns: 6,
        };
        [Sample::Burst(burst), Sample::Move(considered)]
    }

    fn reader() -> Reader {
        let mut reader = Reader::default();
        assert_eq!(reader.line(header().to_line().as_bytes()), Ok(None));
        reader
    }

    #[test]
    fn what_was_written_is_read() {
        let mut reader = reader();
        assert_eq!(reader.header(), Some(&header()));
        for sample in samples() {
            let line = sample.to_line();
            assert!(line.len() < MAX_LINE_HALF, "{line}");
            assert_eq!(reader.line(line.as_bytes()), Ok(Some(sample)));
        }
        assert_eq!(reader.line(b"\n"), Ok(None));
        let [Sample::Burst(burst), Sample::Move(considered)] = samples() else {
            unreachable!()
        };
        assert_eq!((burst.last(), burst.deviation()), (19 * ONE, -ONE));
        assert!((considered.reward_ms() + 1.0).abs() < 1e-9);
    }

    const MAX_LINE_HALF: usize = super::super::format::MAX_LINE / 2;

    #[test]
    fn other_versions_and_what_is_no_header_are_refused() {
        let first = |line: &str| Reader::default().line(line.as_bytes()).unwrap_err();
        assert_eq!(first("{}"), Problem::NoSamples);
        assert_eq!(first(r#"{"samples":2}"#), Problem::Version(2));
        let mut other = header();
        other.features = 9;
        assert_eq!(first(&other.to_line()), Problem::Features(9));
        let mut other = header();
        other.origin.kernel = "6.18\u{1b}[2J".to_owned();
        assert_eq!(first(&other.to_line()), Problem::Value("kernel"));
        assert!(matches!(first(r#"{"samples":1}"#), Problem::Json { .. }));
    }

    #[test]
    fn values_that_there_are_not_are_refused_by_their_names() {
        let [Sample::Burst(burst), Sample::Move(considered)] = samples() else {
            unreachable!()
        };
        let refused = |sample: Sample| reader().line(sample.to_line().as_bytes()).unwrap_err();
        let mut odd = burst.clone();
        odd.x[3] = 17 * ONE;
        assert_eq!(refused(Sample::Burst(odd)), Problem::Value("x"));
        let mut odd = burst.clone();
        odd.comm = "a".repeat(46);
        assert_eq!(refused(Sample::Burst(odd)), Problem::Value("comm"));
        let mut odd = burst;
        odd.comm = "a\u{7}".to_owned();
        let line = Sample::Burst(odd).to_line();
        let read = reader().line(line.as_bytes()).unwrap();
        assert!(matches!(read, Some(Sample::Burst(burst)) if burst.comm == "a\u{fffd}"));
        for propensity in [0.0, 1.5] {
            let mut odd = considered.clone();
            odd.propensity = propensity;
            assert_eq!(refused(Sample::Move(odd)), Problem::Value("propensity"));
        }
        let error = reader().line(br#"{"burst":{"at_ns":-1}}"#).unwrap_err();
        assert!(matches!(error, Problem::Json { column: 20, .. }), "{error}");
    }
}
