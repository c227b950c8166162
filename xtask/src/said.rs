//! Owns the lines that are shown. Each is written whole, however many steps run at once; what is said for a step is
//! marked, if others run beside it, and its end is kept.

use std::cell::RefCell;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use crate::machine::Lines;
use crate::tail::Tail;

/// Where a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// Standard output: what was asked for.
    Output,
    /// Standard error: all else.
    Error,
}

/// For which step a thread speaks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Voice {
    mark: String,
    tail: Arc<Mutex<Tail>>,
}

thread_local! {
    static VOICE: RefCell<Option<Voice>> = const { RefCell::new(None) };
}

/// Does `work` for a step, whose lines are kept and marked with `mark`.
pub(crate) fn kept<T>(mark: &str, work: impl FnOnce() -> T) -> (T, Tail) {
    let voice = Voice {
        mark: mark.to_owned(),
        tail: Arc::default(),
    };
    let result = for_step(Some(voice.clone()), work);
    let mut tail = voice.tail.lock().unwrap_or_else(PoisonError::into_inner);
    (result, std::mem::take(&mut tail))
}

/// For which step this thread speaks, if it is one.
pub(crate) fn voice() -> Option<Voice> {
    VOICE.with_borrow(Clone::clone)
}

/// Does `work` with the voice of another thread.
pub(crate) fn for_step<T>(voice: Option<Voice>, work: impl FnOnce() -> T) -> T {
    let before = VOICE.replace(voice);
    let result = work();
    VOICE.set(before);
    result
}

/// What marks the lines of this thread's step.
fn mark() -> String {
    VOICE.with_borrow(|voice| voice.as_ref().map_or_else(String::new, |v| v.mark.clone()))
}

/// Shows one line behind `prefix`, or more if it has some.
pub(crate) fn line(to: To, prefix: &str, line: &str) -> io::Result<()> {
    keep(|tail| {
        let (first, rest) = line.split_once('\n').unwrap_or((line, ""));
        tail.note(prefix, first);
        rest.lines().for_each(|line| tail.note("", line));
    });
    write(to, &format!("{prefix}{line}\n"))
}

/// Says something of our own, in one or more lines. With `failure` the first one tells what failed.
pub(crate) fn ours(text: &str, failure: bool) -> io::Result<()> {
    let prefix = format!("xtask: {}", mark());
    keep(|tail| {
        for (index, line) in text.lines().enumerate() {
            match index {
                0 if failure => tail.note_failure(&prefix, line),
                0 => tail.note(&prefix, line),
                _ => tail.note("", line),
            }
        }
    });
    write(To::Error, &format!("{prefix}{text}\n"))
}

/// Says that something goes on, which is not worth keeping.
pub(crate) fn aside(text: &str) -> io::Result<()> {
    write(To::Error, &format!("xtask: {}{text}\n", mark()))
}

/// Shows the lines of another program, up to their end.
pub(crate) fn of_program(to: To, from: impl Read, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mark = mark();
    for bytes in BufReader::new(from).split(b'\n') {
        let bytes = bytes?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\r');
        each(text);
        line(to, &mark, text)?;
    }
    Ok(())
}

/// Standard output by whole lines, marked as all that this thread's step says.
pub(crate) struct Output(Lines<fn(&str) -> Result<()>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(Lines::new(|text| Ok(line(To::Output, &mark(), text)?)))
    }

    /// Shows what is left.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.feed(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn keep(note: impl FnOnce(&mut Tail)) {
    if let Some(voice) = voice() {
        note(&mut voice.tail.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// At once: what several threads write is then not mixed.
fn write(to: To, text: &str) -> io::Result<()> {
    // The unit tests' failures are meant; said aloud they would look like the run's own.
    if cfg!(test) {
        return Ok(());
    }
    match to {
        To::Output => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            stdout.flush()
        }
        To::Error => io::stderr().write_all(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_side_by_side_keep_their_own_lines() {
        let step = |name: &str| {
            let ((), tail) = kept(&format!("[{name}] "), || {
                ours("begins", false).unwrap();
                let voice = voice();
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        for_step(voice, || {
                            of_program(To::Error, &b"built\r\nhalf"[..], |_| ()).unwrap();
                        });
                    });
                });
                aside("goes on").unwrap();
                let mut output = Output::new();
                write!(output, "1.5 ").unwrap();
                writeln!(output, "times").unwrap();
                output.finish().unwrap();
                line(To::Output, "[machine] ", &format!("{name}\nand more")).unwrap();
                ours("it failed:\nso it did", true).unwrap();
            });
            tail
        };
        let (a, b) = std::thread::scope(|scope| {
            let (a, b) = (scope.spawn(|| step("a")), scope.spawn(|| step("b")));
            (a.join().unwrap(), b.join().unwrap())
        });
        for (name, tail) in [("a", a), ("b", b)] {
            let expected = [
                &format!("xtask: [{name}] begins"),
                &format!("[{name}] built"),
                &format!("[{name}] half"),
                &format!("[{name}] 1.5 times"),
                &format!("[machine] {name}"),
                "and more",
                &format!("xtask: [{name}] it failed:"),
                "so it did",
            ];
            assert_eq!(tail.lines(), expected);
        }
        assert!(voice().is_none());
        line(To::Error, "", "of no step").unwrap();
    }
}
