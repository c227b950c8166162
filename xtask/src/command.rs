//! Owns how other programs are run: what is said before, what is quoted when one fails, and the
//! clock of a long step. What the programs do is the callers' business.
//!
//! Everything said goes to standard error, so that standard output belongs to what a user asked
//! for: the output of a command in the test machine, or of the tests.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::said::{self, To};

/// How often a long step says that it is still running.
const TICK: Duration = Duration::from_secs(15);

/// How nice something can be at most.
pub(crate) const NICEST: i32 = 19;

/// Says one line of progress on standard error.
pub(crate) fn say(line: impl AsRef<str>) {
    // Progress that nobody can read must not stop the work.
    drop(said::ours(line.as_ref(), false));
}

/// Says what failed, in one or more lines.
pub(crate) fn complain(text: impl AsRef<str>) {
    drop(said::ours(text.as_ref(), true));
}

/// Runs `work` between two lines that say what it is and how long it took, with a sign of life
/// every [`TICK`] in between.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format!("{what} ..."));
    let begin = Instant::now();
    let (done, over) = mpsc::channel::<()>();
    let voice = said::voice();
    let result = thread::scope(|scope| {
        scope.spawn(move || {
            said::for_step(voice, || {
                while over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    let seconds = begin.elapsed().as_secs();
                    drop(said::aside(&format!("{what}: {seconds} s")));
                }
            });
        });
        let result = work();
        drop(done);
        result
    });
    if result.is_ok() {
        say(format!(
            "{what}: done in {:.1} s",
            begin.elapsed().as_secs_f64()
        ));
    }
    result
}

/// Does both at once; `beside` on a thread that speaks for the step that this one speaks for.
pub(crate) fn side_by_side<A: Send, B>(
    beside: impl FnOnce() -> Result<A> + Send,
    work: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    let voice = said::voice();
    thread::scope(|scope| {
        let beside = scope.spawn(|| said::for_step(voice, beside));
        let done = work();
        let beside = beside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((beside?, done?))
    })
}

/// A command whose PATH also has the system administrator's directories, where Debian keeps
/// `depmod` and friends and which an ordinary user's PATH leaves out.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path());
    command
}

/// Where programs are looked for.
pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// Runs the cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(crate::workspace::root());
    cargo
}

/// Whether `program` can be found.
pub(crate) fn found(program: &str) -> bool {
    search_path()
        .split(':')
        .any(|dir| std::path::Path::new(dir).join(program).is_file())
}

/// The whole command as one could type it: variables, program and arguments.
pub(crate) fn display(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let (true, Some(value)) = (name != "PATH", value) {
            _ = write!(line, "{}={} ", name.display(), quote(value));
        }
    }
    line.push_str(&quote(command.get_program()));
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quote(argument));
    }
    line
}

/// One word for a POSIX shell.
pub(crate) fn quote(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs `command` with its output on standard error, where a step's is kept too; failing is an error that quotes it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    // Not inherited as it is: apt-get and others speak on standard output.
    let status = status(command)?;
    if !status.success() {
        bail!(
            "`{}` failed ({status}); its output above says why",
            display(command)
        );
    }
    Ok(())
}

/// Runs `command` with its output on standard error and returns how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    if said::voice().is_none() {
        command.stdout(io::stderr());
        return command.status().with_context(|| not_run(command));
    }
    let (reader, writer) = io::pipe().context("no pipe")?;
    command.stdout(writer.try_clone().context("no pipe")?);
    command.stderr(writer);
    coloured(command);
    let mut child = command.spawn().with_context(|| not_run(command))?;
    // As long as this process could write too there would be no end.
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    said::of_program(To::Error, reader, |_| ())?;
    Ok(child.wait()?)
}

/// Runs `command` with each of its outputs where it belongs, and returns how it ended; `each` gets the lines of
/// standard output.
pub(crate) fn watched(command: &mut Command, each: impl FnMut(&str)) -> Result<ExitStatus> {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    coloured(command);
    let mut child = command.spawn().with_context(|| not_run(command))?;
    let pipes = child.stdout.take().zip(child.stderr.take());
    let (stdout, stderr) = pipes.context("a pipe that is not there")?;
    let voice = said::voice();
    thread::scope(|scope| {
        scope.spawn(move || said::for_step(voice, || said::of_program(To::Error, stderr, |_| ())));
        said::of_program(To::Output, stdout, each)
    })?;
    Ok(child.wait()?)
}

/// Has what this thread runs from now on be nicer by so much.
pub(crate) fn make_way(niceness: i32) {
    // The kernel has a priority for each thread, which its children inherit.
    let renice = || -> Result<()> {
        let now: i32 = output(&mut command("nice"))?.trim().parse()?;
        let path = fs::read_link("/proc/thread-self")?;
        let thread = path.file_name().context("a thread without a name")?;
        let nice = (now + niceness).min(NICEST).to_string();
        run_quietly(command("renice").args(["-n", &nice, "-p"]).arg(thread))
    };
    if let Err(error) = renice() {
        say(format!(
            "what runs beside others makes no way for them: {error:#}"
        ));
    }
}

/// cargo does not see the terminal, if there is one, that its lines are shown on.
fn coloured(command: &mut Command) {
    if io::stderr().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
}

/// Runs `command` and returns what it wrote on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| not_run(command))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}):\n{}",
            display(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` wrote something that is not UTF-8", display(command)))
}

/// Runs `command`; both its outputs are shown only if it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| not_run(command))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}):\n{}{}",
            display(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}

/// A program that runs beside, and is killed when this is dropped: nothing of its own may be lost by that.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| not_run(command))?;
        Ok(Self(child))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The message for a command that could not even be started.
pub(crate) fn not_run(command: &Command) -> String {
    format!(
        "cannot run `{}` (cargo xtask setup installs what is missing)",
        display(command)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_one_word_for_the_shell() {
        assert_eq!(quote("plain-1.0/x=y"), "plain-1.0/x=y");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn what_makes_way_is_nicer_and_nothing_else_becomes_so() {
        let nice = || output(&mut command("nice")).unwrap();
        let number = |said: String| said.trim().parse::<i32>().unwrap();
        let before = nice();
        let way = thread::spawn(move || {
            make_way(3);
            nice()
        });
        let way = number(way.join().unwrap());
        assert_eq!(nice(), before);
        assert_eq!(way, (number(before) + 3).min(NICEST));
    }

    #[test]
    fn an_error_quotes_the_whole_command() {
        let error = run_quietly(
            command("sh")
                .env("A", "b c")
                .args(["-c", "echo why; exit 3"]),
        );
        let error = format!("{:#}", error.unwrap_err());
        assert!(
            error.contains("`A='b c' sh -c 'echo why; exit 3'` failed"),
            "{error}"
        );
        assert!(error.contains("why"), "{error}");
    }

    #[test]
    fn a_missing_program_names_the_remedy() {
        let error = format!(
            "{:#}",
            output(&mut command("no-such-program-here")).unwrap_err()
        );
        assert!(error.contains("cargo xtask setup"), "{error}");
    }
}
