//! Model files and samples on disk: the one part of this crate that reads and writes. What they hold is said in
//! [`crate::file`] and [`crate::samples`].

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use auto_ext_service::atomic_file;

use crate::file::{self, Invalid, MAX_FILE, Model};
use crate::samples::{Header, MAX_LINE, Problem, Reader, Sample};

/// Why a model file is of no use. Displays as `FILE: ...`.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is none, or damaged.
    #[error("{}: {error}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: Invalid,
    },
}

/// What is wrong with a file of samples. Displays as `FILE:LINE: error: ...`.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: error: {fault}", path.display())]
pub struct SampleError {
    /// The file as it was named.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a line of a file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is longer than [`MAX_LINE`].
    #[error("the line is longer than {MAX_LINE} bytes, which none of samples is")]
    TooLong,
    /// It is no sample.
    #[error("{0}")]
    Problem(#[from] Problem),
}

/// Reads the model at `path`; `None` if there is no such file.
///
/// # Errors
/// When it cannot be read, or is no model.
pub fn read_model(path: &Path) -> Result<Option<Model>, ModelError> {
    let failed = |error| ModelError::File {
        path: path.to_owned(),
        error,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    // One more than may be is enough to tell.
    let limit = MAX_FILE as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    let model = file::parse(&bytes).map_err(|error| ModelError::Invalid {
        path: path.to_owned(),
        error,
    })?;
    Ok(Some(model))
}

/// Replaces the model at `path` as a whole, and waits until the disk has it.
///
/// # Errors
/// When it cannot be written, or would not be read again; the old one is then still there.
pub fn write_model(path: &Path, model: &Model) -> Result<(), ModelError> {
    let text = file::to_text(model).map_err(|error| ModelError::Invalid {
        path: path.to_owned(),
        error,
    })?;
    atomic_file::replace(path, [text.as_str()]).map_err(|error| ModelError::File {
        path: path.to_owned(),
        error,
    })
}

/// A file of samples: gives them until the end, or until the first error. A last line that breaks off is left out, as when
/// whoever collected was killed.
#[derive(Debug)]
pub struct SampleFile<R> {
    path: PathBuf,
    input: R,
    reader: Reader,
    buffer: Vec<u8>,
    line: u64,
    ended: bool,
}

impl SampleFile<BufReader<File>> {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened, or does not begin as samples.
    pub fn open(path: &Path) -> Result<Self, SampleError> {
        match File::open(path) {
            Ok(file) => Self::new(path, BufReader::new(file)),
            Err(error) => Err(SampleError {
                path: path.to_owned(),
                line: 1,
                fault: error.into(),
            }),
        }
    }
}

impl<R: BufRead> SampleFile<R> {
    /// Reads the header from `input`; `path` only names it in errors.
    ///
    /// # Errors
    /// When it does not begin as samples.
    pub fn new(path: &Path, input: R) -> Result<Self, SampleError> {
        let mut file = Self {
            path: path.to_owned(),
            input,
            reader: Reader::default(),
            buffer: Vec::new(),
            line: 1,
            ended: false,
        };
        match file
            .read()
            .and_then(|_| Ok(file.reader.line(&file.buffer)?))
        {
            Ok(_) => Ok(file),
            Err(fault) => Err(file.located(fault)),
        }
    }

    /// The first line.
    #[must_use]
    pub fn header(&self) -> &Header {
        let header = self.reader.header();
        header.expect("there is no file before it was read")
    }

    /// Reads one line, its end included; `false` when there is none.
    fn read(&mut self) -> Result<bool, Fault> {
        self.buffer.clear();
        let most = MAX_LINE + 1;
        let mut line = self.input.by_ref().take(most as u64);
        let length = line.read_until(b'\n', &mut self.buffer)?;
        if length == most && self.buffer.last() != Some(&b'\n') {
            return Err(Fault::TooLong);
        }
        Ok(length > 0)
    }

    fn sample(&mut self) -> Result<Option<Sample>, Fault> {
        loop {
            self.line += 1;
            if !self.read()? {
                return Ok(None);
            }
            match self.reader.line(&self.buffer) {
                Ok(None) => {}
                Ok(sample) => return Ok(sample),
                Err(Problem::Json { .. }) if self.buffer.last() != Some(&b'\n') => return Ok(None),
                Err(problem) => return Err(problem.into()),
            }
        }
    }

    fn located(&self, fault: Fault) -> SampleError {
        SampleError {
            path: self.path.clone(),
            line: self.line,
            fault,
        }
    }
}

impl<R: BufRead> Iterator for SampleFile<R> {
    type Item = Result<Sample, SampleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let sample = self.sample();
        self.ended = !matches!(sample, Ok(Some(_)));
        sample.map_err(|fault| self.located(fault)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"samples":1,"features":1,"made_by":"a","made_us":1,"kernel":"b","machine":{"cpu":"c","cpus":1,"llcs":1,"nodes":1,"smt":false},"explore":0.02}"#;
    const BURST: &str =
        r#"{"burst":{"at_ns":1,"pid":1,"comm":"a","x":[0,0,0,0,0,0,0,0],"y":1,"ewma":1}}"#;

    fn read(text: &str) -> Result<Vec<Result<Sample, String>>, String> {
        let file = SampleFile::new(Path::new("f"), text.as_bytes());
        let samples = file.map_err(|error| error.to_string())?;
        Ok(samples
            .map(|sample| sample.map_err(|error| error.to_string()))
            .collect())
    }

    #[test]
    fn a_line_that_is_wrong_is_told_with_its_number_and_ends_it() {
        let samples = read(&format!("{HEADER}\n{BURST}\n{{}}\n{BURST}\n")).unwrap();
        assert_eq!(samples.len(), 2);
        let error = samples[1].as_ref().unwrap_err();
        assert!(error.starts_with("f:3: error: column "), "{error}");
        let error = read("nothing\n").unwrap_err();
        assert!(
            error.starts_with("f:1: error: these are no samples"),
            "{error}"
        );
        assert!(read("").is_err());
    }

    #[test]
    fn a_last_line_that_breaks_off_is_left_out() {
        let samples = read(&format!("{HEADER}\n{BURST}\n{}", &BURST[..30])).unwrap();
        assert!(samples.len() == 1 && samples[0].is_ok());
    }

    #[test]
    fn a_line_without_an_end_is_not_read_to_it() {
        let long = "x".repeat(MAX_LINE + 10);
        let samples = read(&format!("{HEADER}\n{long}")).unwrap();
        let error = samples[0].as_ref().unwrap_err();
        assert!(error.contains("f:2: error: the line is longer"), "{error}");
    }

    #[test]
    fn a_model_is_replaced_and_read_and_what_is_none_is_told_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.json");
        assert_eq!(read_model(&path).unwrap(), None);
        let model = Model::default();
        write_model(&path, &model).unwrap();
        assert_eq!(read_model(&path).unwrap(), Some(model.clone()));
        write_model(&path, &model).unwrap();
        std::fs::write(&path, "{}").unwrap();
        let error = read_model(&path).unwrap_err().to_string();
        assert!(error.contains("model.json: "), "{error}");
        std::fs::write(&path, " ".repeat(MAX_FILE + 10)).unwrap();
        assert!(read_model(&path).is_err());
        let missing = directory.path().join("missing/model.json");
        assert!(matches!(
            write_model(&missing, &model),
            Err(ModelError::File { .. })
        ));
    }
}
