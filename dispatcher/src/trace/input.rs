//! Owns how the file of a trace is read: as it is, or unpacked if gzip has packed it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

/// The first bytes of what gzip packs (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The file of a trace.
#[derive(Debug)]
pub enum Input {
    /// As it is.
    Plain(BufReader<File>),
    /// Unpacked while it is read.
    Packed(Box<GzDecoder<BufReader<File>>>),
}

impl Input {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        if file.fill_buf()?.starts_with(&GZIP) {
            Ok(Self::Packed(Box::new(GzDecoder::new(file))))
        } else {
            Ok(Self::Plain(file))
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Packed(file) => file.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn what_is_packed_reads_as_what_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(b"a trace\n").unwrap();
        for bytes in [b"a trace\n".to_vec(), packed.finish().unwrap()] {
            std::fs::write(&path, bytes).unwrap();
            let mut text = String::new();
            let mut input = Input::open(&path).unwrap();
            input.read_to_string(&mut text).unwrap();
            assert_eq!(text, "a trace\n");
        }
        std::fs::write(&path, "").unwrap();
        assert_eq!(Input::open(&path).unwrap().read(&mut [0]).unwrap(), 0);
        assert!(Input::open(directory.path()).is_err());
    }
}
