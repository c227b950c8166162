use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::listener::{LAST_LINES, LINE_LIMIT, LONG_PAUSE};
use super::*;

/// All that comes of what `write` writes: what is logged, and the last lines.
fn read_all(write: impl FnOnce(PipeWriter) + Send + 'static) -> (Vec<LogEntry>, Vec<String>) {
    let (reader, writer) = Output::pipe().unwrap();
    let (log, mut logged) = mpsc::channel(ON_THEIR_WAY);
    let last = Arc::default();
    let listener = Listener::new(reader, Arc::clone(&last), log);
    let threads = [
        thread::spawn(move || write(writer)),
        thread::spawn(move || listener.listen()),
    ];
    let mut all = Vec::new();
    while let Some(logged) = logged.blocking_recv() {
        all.push(logged);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let last = last.lock().unwrap().iter().cloned().collect();
    (all, last)
}

/// How many bytes there were.
fn all_bytes(logged: &[LogEntry]) -> u64 {
    let bytes = logged.iter().map(|logged| match logged {
        LogEntry::LeftOut(bytes) => *bytes,
        LogEntry::Line(line) => line.len() as u64 + 1,
    });
    bytes.sum()
}

fn line(text: &str) -> LogEntry {
    LogEntry::Line(text.to_owned())
}

#[test]
fn what_is_little_is_logged_line_by_line() {
    let (logged, last) = read_all(|mut writer| {
        writer.write_all(b"one\n\n  \x1b[1mtwo\r\nthr").unwrap();
        thread::sleep(Duration::from_millis(30));
        writer.write_all(b"ee").unwrap();
    });
    assert_eq!(logged, [line("one"), line("[1mtwo"), line("three")]);
    assert_eq!(last, ["one", "[1mtwo", "three"]);
}

#[test]
fn a_line_without_end_is_logged_in_parts() {
    let (_, last) = read_all(|mut writer| writer.write_all(&[b'x'; 2500]).unwrap());
    let lengths: Vec<_> = last.iter().map(String::len).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 2500);
    assert!(lengths.iter().all(|length| *length <= LINE_LIMIT));
}

#[test]
fn of_a_flood_the_first_and_the_last_lines_are_logged_and_how_much_is_missing() {
    const ALL: u64 = 200_000;
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let (logged, last) = read_all(move |mut writer| {
        let mut write = |line: &str| {
            count.fetch_add(line.len() as u64, Ordering::Relaxed);
            writer.write_all(line.as_bytes()).unwrap();
        };
        for number in 0..ALL {
            write(&format!(
                "line {number} of a scheduler that does not stop\n"
            ));
        }
        write("Error: the end\n");
    });
    assert_eq!(logged[0], line("line 0 of a scheduler that does not stop"));
    assert_eq!(logged.last(), Some(&line("Error: the end")));
    assert_eq!(last.len(), LAST_LINES);
    assert_eq!(last.last().unwrap(), "Error: the end");
    let lines = logged
        .iter()
        .filter(|logged| matches!(logged, LogEntry::Line(_)))
        .count() as u64;
    assert!(lines < 1000, "{lines}");
    // But for what had been read of a line when its end was left out.
    let (all, written) = (all_bytes(&logged), written.load(Ordering::Relaxed));
    assert!(all.abs_diff(written) <= written / 100, "{all} of {written}");
}

#[test]
fn how_it_begins_is_logged_though_much_was_there_before_the_first_look() {
    let (reader, mut writer) = Output::pipe().unwrap();
    for number in 0..20_000 {
        writeln!(writer, "line {number} of many").unwrap();
    }
    drop(writer);
    let (log, mut logged) = mpsc::channel(ON_THEIR_WAY);
    let last = Arc::default();
    let listener = Listener::new(reader, Arc::clone(&last), log);
    let thread = thread::spawn(move || listener.listen());
    assert_eq!(logged.blocking_recv(), Some(line("line 0 of many")));
    while logged.blocking_recv().is_some() {}
    thread.join().unwrap();
    let last = last.lock().unwrap();
    assert_eq!(last.back().unwrap(), "line 19999 of many");
}

#[test]
fn of_what_is_written_without_end_no_more_is_read_than_costs_little() {
    let begun = Instant::now();
    let (logged, last) = read_all(|writer| {
        let mut child = Command::new("yes")
            .stdout(Stdio::from(writer))
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_secs(1));
        child.kill().unwrap();
        child.wait().unwrap();
    });
    assert_eq!(last, ["y"; LAST_LINES]);
    let looks = begun.elapsed().as_millis() / LONG_PAUSE.as_millis() + 2;
    let bytes = u128::from(all_bytes(&logged));
    let room = u128::from(PIPE.unsigned_abs());
    assert!(bytes < looks * room + room, "{bytes} in {looks} looks");
}
