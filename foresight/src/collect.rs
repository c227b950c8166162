//! Writes bursts and moves to a file while the scheduler runs, for `train`: as JSON lines, a header first. It names programs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use foresight_model::origin::{FEATURES, Origin};
use foresight_model::samples::{Header, MAX_SAMPLES, Sample, VERSION};

use crate::command::Running;
use crate::options::Collect;

const SECOND: Duration = Duration::from_secs(1);

/// What is being written, and for how long.
pub(crate) struct Recorder<W: Write = BufWriter<File>> {
    out: W,
    begun: Instant,
    length: Option<Duration>,
    command: Vec<String>,
    running: Option<Running>,
    /// How many samples a second are written at most, and how many were in the second that began then.
    rate: u32,
    second: (Instant, u32),
    written: u64,
}

impl Recorder {
    /// Replaces the file.
    pub(crate) fn create(options: &Collect, origin: Origin) -> Result<Self> {
        let place = &options.out;
        let file = File::create(place).with_context(|| format!("cannot write {}", place.display()));
        Self::begin(BufWriter::new(file?), options, origin)
    }
}

impl<W: Write> Recorder<W> {
    fn begin(mut out: W, options: &Collect, origin: Origin) -> Result<Self> {
        let header = Header {
            samples: VERSION,
            features: FEATURES,
            origin,
            explore: options.moves.explore,
        };
        out.write_all(header.to_line().as_bytes())?;
        let now = Instant::now();
        Ok(Self {
            out,
            begun: now,
            length: options.length,
            command: options.command.clone(),
            running: None,
            rate: options.rate,
            second: (now, 0),
            written: 0,
        })
    }

    /// Starts the command, if there is one, and the time: the scheduler is there.
    pub(crate) fn start(&mut self) -> Result<()> {
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
        let mut recorder =
            Recorder::begin(Vec::new(), &options("--rate 2"), Origin::default()).unwrap();
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
            let mut recorder =
                Recorder::begin(Vec::new(), &options(words), Origin::default()).unwrap();
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
        assert!(none.as_mut().unwrap().start().is_err());
    }
}
