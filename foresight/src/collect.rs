//! Writes bursts and moves to a file while the scheduler runs, for `train`: as JSON lines, a header first. It names programs.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use foresight_model::origin::{FEATURES, Origin};
use foresight_model::samples::{Header, MAX_SAMPLES, Sample, VERSION};

use crate::command::Running;
use crate::options::Collect;

const SECOND: Duration = Duration::from_secs(1);

/// What is being written, and for how long.
pub(crate) struct Recorder<W: Write = BufWriter<Replaced>> {
    out: W,
    /// Until it is written.
    header: Option<Header>,
    begun: Instant,
    length: Option<Duration>,
    command: Vec<String>,
    running: Option<Running>,
    /// How many samples a second are written at most, and how many were in the second that began then.
    rate: u32,
    second: (Instant, u32),
    written: u64,
}

/// A file that stays what it was until something is written.
pub(crate) struct Replaced {
    file: File,
    is_as_before: bool,
}

impl Write for Replaced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_as_before && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.is_as_before = false;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Recorder {
    /// Replaces the file once it is started.
    pub(crate) fn create(options: &Collect, origin: Origin) -> Result<Self> {
        let place = &options.out;
        let mut how = OpenOptions::new();
        let file = how.write(true).create(true).truncate(false).open(place);
        let file = file.with_context(|| format!("cannot write {}", place.display()))?;
        let out = Replaced {
            file,
            is_as_before: true,
        };
        Ok(Self::begin(BufWriter::new(out), options, origin))
    }
}

impl<W: Write> Recorder<W> {
    fn begin(out: W, options: &Collect, origin: Origin) -> Self {
        let header = Header {
            samples: VERSION,
            features: FEATURES,
            origin,
            explore: options.moves.explore,
        };
        let now = Instant::now();
        Self {
            out,
            header: Some(header),
            begun: now,
            length: options.length,
            command: options.command.clone(),
            running: None,
            rate: options.rate,
            second: (now, 0),
            written: 0,
        }
    }

    /// Starts the file, the command, if there is one, and the time: the scheduler is there.
    pub(crate) fn start(&mut self) -> Result<()> {
        if let Some(header) = self.header.take() {
            self.out.write_all(header.to_line().as_bytes())?;
        }
        self.begun = Instant::now();
        if let (Some((program, words)), None) = (self.command.split_first(), &self.running) {
            self.running = Some(Running::start(program, words)?);
        }
        Ok(())
    }

    /// Writes a burst or a move, unless there were enough in this second or over all.
    pub(crate) fn add(&mut self, sample: &Sample) -> io::Result<()> {
        if self.second.0.elapsed() >= SECOND {
            self.second = (Instant::now(), 0);
        }
        if self.second.1 >= self.rate || self.written >= MAX_SAMPLES {
            return Ok(());
        }
        self.second.1 += 1;
        self.written += 1;
        self.out.write_all(sample.to_line().as_bytes())
    }

    /// Whether the time is over, or the command has ended.
    pub(crate) fn is_over(&mut self) -> io::Result<bool> {
        let is_late = self
            .length
            .is_some_and(|length| self.begun.elapsed() >= length);
        let ended = match &mut self.running {
            Some(running) => running.has_ended()?,
            None => false,
        };
        Ok(is_late || ended)
    }

    /// Writes what is left; returns how many samples there are.
    pub(crate) fn finish(&mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use foresight_model::samples::Reader;

    use super::*;
    use crate::options::{Cli, Command as Subcommand};
    use crate::sample::tests::sample;

    fn options(words: &str) -> Collect {
        let words = format!("scx_foresight collect --out /dev/null {words}");
        let cli = Cli::try_parse_from(words.split_whitespace()).unwrap();
        match cli.command {
            Some(Subcommand::Collect(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_no_more_than_so_many_a_second() {
        let mut recorder = Recorder::begin(Vec::new(), &options("--rate 2"), Origin::default());
        recorder.start().unwrap();
        for pid in 1..=3 {
            let burst = Sample::Burst(sample(pid, None, false).to_burst());
            recorder.add(&burst).unwrap();
        }
        assert_eq!(recorder.finish().unwrap(), 2);
        let text = String::from_utf8(recorder.out).unwrap();
        let mut lines = text.lines();
        let mut reader = Reader::default();
        assert!(
            reader
                .line(lines.next().unwrap().as_bytes())
                .unwrap()
                .is_none()
        );
        let Some(Sample::Burst(burst)) = reader.line(lines.next().unwrap().as_bytes()).unwrap()
        else {
            panic!("{text}");
        };
        let same = sample(1, None, false);
        assert_eq!((burst.pid, burst.comm.as_str()), (1, "make"));
        assert_eq!(
            (burst.deviation(), burst.x),
            (same.residual(), same.features)
        );
    }

    #[test]
    fn it_is_over_when_the_time_or_the_command_is() {
        let recorder = |words: &str| {
            let mut recorder = Recorder::begin(Vec::new(), &options(words), Origin::default());
            recorder.start().unwrap();
            recorder
        };
        assert!(!recorder("").is_over().unwrap());
        assert!(!recorder("--for 1h").is_over().unwrap());
        assert!(recorder("--for 0").is_over().unwrap());
        let mut of_command = recorder("-- true");
        while !of_command.is_over().unwrap() {
            std::thread::yield_now();
        }
        let mut none = Recorder::begin(Vec::new(), &options("-- /no/such"), Origin::default());
        assert!(none.start().is_err());
    }

    #[test]
    fn what_there_was_is_replaced_once_it_is_started_and_not_before() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let before = "as before, and longer than a header is. ".repeat(100);
        std::fs::write(place.path(), &before).unwrap();
        let mut options = options("");
        place.path().clone_into(&mut options.out);
        let now = || std::fs::read_to_string(place.path()).unwrap();
        drop(Recorder::create(&options, Origin::default()).unwrap());
        assert_eq!(now(), before);
        let mut recorder = Recorder::create(&options, Origin::default()).unwrap();
        recorder.start().unwrap();
        assert_eq!(recorder.finish().unwrap(), 0);
        let read = Reader::default().line(now().as_bytes());
        assert!(read.unwrap().is_none(), "{}", now());
    }
}
