//! What the BPF programs say, for who works on them: lines on stderr, in builds with the feature `bpf-log`. In others it is
//! nothing, and the programs say nothing.

use aya::Ebpf;

/// The lines that a loaded object's programs have said and that nobody has read.
pub(crate) struct BpfLog {
    #[cfg(feature = "bpf-log")]
    logger: Option<said::Logger>,
}

impl BpfLog {
    /// That of an object, whose programs need it for as long as they run.
    pub(crate) fn of(ebpf: &mut Ebpf) -> Self {
        #[cfg(not(feature = "bpf-log"))]
        let _ = ebpf;
        Self {
            #[cfg(feature = "bpf-log")]
            logger: said::logger(ebpf),
        }
    }

    /// That of no object.
    pub(crate) fn none() -> Self {
        Self {
            #[cfg(feature = "bpf-log")]
            logger: None,
        }
    }

    /// Prints what was said since the last call.
    pub(crate) fn print(&mut self) {
        #[cfg(feature = "bpf-log")]
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

#[cfg(feature = "bpf-log")]
mod said {
    use std::io::{self, Write as _};

    use aya::Ebpf;
    use aya_log::EbpfLogger;
    use log::{Log, Metadata, Record};

    pub(super) type Logger = EbpfLogger<Stderr>;

    /// `None` where the object has no log, which is then said.
    pub(super) fn logger(ebpf: &mut Ebpf) -> Option<Logger> {
        EbpfLogger::init_with_logger(ebpf, Stderr)
            .inspect_err(|error| line(&format_args!("nothing of BPF programs: {error}")))
            .ok()
    }

    pub(super) struct Stderr;

    impl Log for Stderr {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            line(record.args());
        }

        fn flush(&self) {}
    }

    fn line(text: &std::fmt::Arguments<'_>) {
        // Nobody may listen.
        let _ = writeln!(io::stderr(), "BPF: {text}");
    }
}
