//! Why a scheduler's process ended, by its exit status and the last lines that it printed.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use auto_ext_core::{Cause, End};
use nix::sys::signal::Signal;

/// Why a process ended with `status`, after these last `lines` of output.
pub(crate) fn end(status: ExitStatus, lines: &VecDeque<String>, out_of_memory: bool) -> End {
    let signal = status
        .signal()
        .and_then(|signal| Signal::try_from(signal).ok());
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (_, Some(_)) => format!(
            "was killed by {}",
            signal.map_or("a signal", Signal::as_str)
        ),
        _ => "ended".to_owned(),
    };
    if out_of_memory {
        return End {
            cause: Cause::OutOfMemory,
            text: format!("{how}: it wanted more memory than a scheduler may have"),
        };
    }
    let why = why(lines);
    let cause = match (signal, why.as_deref().and_then(of_the_kernel)) {
        (Some(Signal::SIGKILL | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGINT), _) => {
            Cause::Killed
        }
        (_, Some(cause)) => cause,
        (None, None) if status.success() => Cause::Left,
        _ => Cause::Crashed,
    };
    let text = match why {
        Some(why) => format!("{how}: {why}"),
        None => how,
    };
    End { cause, text }
}

/// What the kernel means by a reason for which it disabled a scheduler: see `scx_exit_reason` in
/// kernel/sched/ext.c; schedulers print the same words. `None` for what is no failure.
pub(crate) fn of_the_kernel(reason: &str) -> Option<Cause> {
    let causes = [
        ("task stall", Cause::Stalled),
        ("watchdog failed to check in", Cause::Stalled),
        ("soft lockup", Cause::Stalled),
        ("hard lockup", Cause::Stalled),
        ("hardlockup", Cause::Stalled),
        ("sysrq", Cause::Sysrq),
        ("hotplug", Cause::Hotplug),
        ("scx_bpf_error", Cause::BpfError),
        ("runtime error", Cause::BpfError),
    ];
    let reason = reason.to_lowercase();
    let found = causes.into_iter().find(|(words, _)| reason.contains(words));
    found.map(|(_, cause)| cause)
}

/// What the last lines of a scheduler's output say about why it ended. They print `Error: ...` or
/// `EXIT: ...`, an error with its causes in the lines after it; libbpf says `libbpf: ... failed ...`
/// before that.
fn why(lines: &VecDeque<String>) -> Option<String> {
    let causes = lines.iter().rposition(|line| line == "Caused by:");
    let mut before = lines.iter().take(causes.unwrap_or(0)).rev();
    let error = before.find(|line| line.starts_with("Error: "));
    if let (Some(causes), Some(error)) = (causes, error) {
        // Two are enough to act on; what is said of them may be long.
        let causes = lines.iter().skip(causes + 1).take(2);
        let causes = causes.map(|line| match line.split_once(": ") {
            // Several are numbered.
            Some((number, cause)) if number.parse::<u8>().is_ok() => cause,
            _ => line,
        });
        let parts: Vec<&str> = std::iter::once(error.trim_end_matches('.'))
            .chain(causes)
            .collect();
        return Some(parts.join(": "));
    }
    let tells = |line: &&String| {
        ["Error", "error", "EXIT", "failed", "panicked"]
            .iter()
            .any(|word| line.contains(word))
    };
    lines.iter().rev().find(tells).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why_of(text: &str) -> Option<String> {
        why(&text.lines().map(|line| line.trim().to_owned()).collect())
    }

    #[test]
    fn an_error_is_given_with_its_causes() {
        assert_eq!(
            why_of(
                "flags: 0x36\nError: Failed to load\nCaused by:\n  Permission denied (os error 13)"
            ),
            Some("Error: Failed to load: Permission denied (os error 13)".into())
        );
        assert_eq!(
            why_of(
                "Error: outer.\nIt is\nlong.\nCaused by:\n 0: middle\n 1: 22 is no CPU\n 2: inner"
            ),
            Some("Error: outer: middle: 22 is no CPU".into())
        );
    }

    #[test]
    fn of_other_output_the_last_line_that_speaks_of_an_error_is_given() {
        assert_eq!(
            why_of("libbpf: failed to find BTF\nError: -3\nUnregister"),
            Some("Error: -3".into())
        );
        assert_eq!(why_of("all is well"), None);
        assert_eq!(why_of("Caused by:"), None);
    }

    /// Statuses as wait(2) has them: an exit code, or a signal.
    fn cause_of(status: i32, text: &str) -> Cause {
        let lines = text.lines().map(str::to_owned).collect();
        end(ExitStatus::from_raw(status), &lines, false).cause
    }

    #[test]
    fn the_cause_is_what_the_kernel_said_or_else_how_the_process_ended() {
        const EXIT_1: i32 = 1 << 8;
        for (status, text, cause) in [
            (0, "Unregister RustLand scheduler", Cause::Left),
            (
                EXIT_1,
                "Error: EXIT: runnable task stall (stress-ng[12] failed to run for 5.1s)",
                Cause::Stalled,
            ),
            (
                EXIT_1,
                "Error: EXIT: scx_bpf_error (invalid CPU)",
                Cause::BpfError,
            ),
            (
                EXIT_1,
                "Error: EXIT: runtime error (ops.init() failed (-22))",
                Cause::BpfError,
            ),
            (EXIT_1, "Error: EXIT: disabled by sysrq-S", Cause::Sysrq),
            (
                EXIT_1,
                "thread 'main' panicked at src/main.rs:1:1",
                Cause::Crashed,
            ),
            (EXIT_1, "", Cause::Crashed),
            (
                EXIT_1,
                "Error: failed to install a handler of signals",
                Cause::Crashed,
            ),
            (
                Signal::SIGKILL as i32,
                "Error: EXIT: runnable task stall",
                Cause::Killed,
            ),
            (Signal::SIGSEGV as i32, "", Cause::Crashed),
        ] {
            assert_eq!(cause_of(status, text), cause, "{status} {text}");
        }
    }

    #[test]
    fn memory_comes_before_the_signal_by_which_it_ended() {
        let status = ExitStatus::from_raw(Signal::SIGKILL as i32);
        let end = end(status, &VecDeque::new(), true);
        assert_eq!(end.cause, Cause::OutOfMemory);
    }

    #[test]
    fn leaving_in_good_order_is_no_failure_to_the_kernel() {
        for reason in [
            "unregistered from user space",
            "unregistered from the main kernel",
        ] {
            assert_eq!(of_the_kernel(reason), None);
        }
    }
}
