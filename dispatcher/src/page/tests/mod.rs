//! The page as it is, and that nothing in it is more than text.

use std::io::Write as _;
use std::process::{Command, Stdio};

use auto_ext_core::KernelState;
use auto_ext_signals::Signal;

use super::*;
use crate::persistence::history::Way;

const SECOND: u64 = 1_000_000;
const NOW: u64 = 1_700_000_000 * SECOND;

fn entry(ago: u64, event: Kind, from: &str, to: &str, error: &str) -> Arc<Entry> {
    Arc::new(Entry {
        at: NOW - ago * SECOND,
        event,
        from: from.into(),
        to: to.into(),
        class: "interactive".into(),
        reason: "class interactive (interactive high)".into(),
        error: error.into(),
        way: Some(Way::Hot),
        gap_us: Some(2_330),
        trial: false,
    })
}

fn signal(signal: Signal, value: Option<f64>, level: Level, low: f64, high: f64) -> SignalNow {
    SignalNow {
        signal,
        value,
        level,
        high,
        low,
        settle_ms: 500,
    }
}

fn model() -> Model {
    Model {
        now: NOW,
        current: Current {
            current_scheduler: "scx_bpfland".into(),
            current_owner: "auto-ext".into(),
            scheduler_pid: 275,
            instance: Some(3),
            state: KernelState::Enabled {
                ops: "bpfland_1.1.4".into(),
            },
        },
        status: DaemonStatus {
            scx_loader: None,
            desired_scheduler: "scx_bpfland".into(),
            mode: "auto".into(),
            class: "interactive".into(),
            levels: [].into(),
            signals: [].into(),
            reason: "class interactive (interactive high)".into(),
            since: NOW - 192 * SECOND,
            switches: 4,
            quarantined: [
                ("lavd".to_owned(), NOW + 1790 * SECOND),
                ("scx_<odd> -m \"x\"".to_owned(), NOW + 5 * SECOND),
            ]
            .into(),
            last_error: "lavd: stalled: <script>alert(1)</script> & runnable task stall".into(),
            version: "0.1.0".into(),
            trial: None,
            learning: "off".into(),
        },
        signals: vec![
            signal(Signal::Cpu, Some(0.32), Level::Low, 0.5, 0.8),
            signal(Signal::Parallel, Some(1.5), Level::High, 0.4, 0.8),
            signal(Signal::Contended, Some(0.0), Level::Low, 0.2, 0.4),
            signal(Signal::Io, None, Level::Unknown, 0.1, 0.3),
            signal(Signal::Net, Some(f64::NAN), Level::Low, 0.05, 0.1),
            signal(Signal::Mem, Some(0.04), Level::Low, 0.0, 0.0),
            signal(Signal::Interactive, Some(0.98), Level::High, 0.1, 0.2),
        ],
        history: vec![
            entry(192, Kind::Switched, "scx_lavd", "scx_bpfland", ""),
            entry(
                200,
                Kind::Exited,
                "scx_lavd",
                "kernel",
                "stalled: runnable task stall (<firefox>[1234] failed to run for 30.1s)",
            ),
            entry(4000, Kind::Foreign, "kernel", "scx_simple", ""),
            entry(
                7300,
                Kind::Failed,
                "kernel",
                "scx_cosmos",
                "not loaded: Permission denied",
            ),
            entry(90_000, Kind::Started, "kernel", "kernel", ""),
        ],
    }
}

/// With `UPDATE_PAGE=1` the file is written, to be looked at before it is committed.
#[test]
fn the_page_is_what_it_was() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page/tests/page.html");
    let text = page(&model()).replace(STYLE, "");
    if std::env::var_os("UPDATE_PAGE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    if let Some(whole) = std::env::var_os("SHOW_PAGE") {
        std::fs::write(whole, page(&model())).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text == expected, "it is now:\n{text}");
}

#[test]
fn whatever_comes_from_elsewhere_is_text() {
    let hostile = "<script>\"'&\u{1b}[2J\u{202e}";
    let mut model = model();
    model.current.current_scheduler = hostile.into();
    model.current.state = KernelState::Unknown(hostile.into());
    let status = &mut model.status;
    for text in [
        &mut status.desired_scheduler,
        &mut status.mode,
        &mut status.class,
        &mut status.reason,
        &mut status.last_error,
        &mut status.version,
    ] {
        *text = hostile.into();
    }
    status.quarantined = [(hostile.to_owned(), u64::MAX)].into();
    status.since = u64::MAX;
    model.history = [
        Kind::Started,
        Kind::Stopped,
        Kind::Switched,
        Kind::Failed,
        Kind::Exited,
        Kind::Foreign,
        Kind::Refused,
        Kind::Trial,
    ]
    .map(|event| {
        let all = entry(0, event, hostile, hostile, hostile);
        Arc::new(Entry {
            reason: hostile.into(),
            at: u64::MAX,
            ..Entry::clone(&all)
        })
    })
    .into();
    let page = page(&model);
    assert!(!page.contains("<script") && !page.contains(['\u{1b}', '\u{202e}']));
    assert!(
        page.matches("&lt;script&gt;&quot;'&amp;").count() > 15,
        "{page}"
    );
    // Nor is there anything to run or to load in what is ours.
    for word in [
        "javascript:",
        "src=",
        "href=",
        "url(",
        "@import",
        " style=",
        " onload=",
    ] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn it_is_bounded() {
    let long = "&".repeat(1 << 20);
    let mut model = model();
    model.status.reason = long.clone();
    model.status.last_error = long.clone();
    model.status.quarantined = (0..1000).map(|n| (format!("{n}{long}"), NOW)).collect();
    model.history = vec![entry(1, Kind::Exited, &long, "kernel", &long); 1000];
    assert!(page(&model).len() < 1 << 20);
}

#[test]
fn the_policy_knows_the_style() {
    let mut sum = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = sum.stdin.take().unwrap();
    stdin.write_all(STYLE.as_bytes()).unwrap();
    drop(stdin);
    let said = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    let hash = said.split(' ').next().unwrap();
    let expected = format!("style-src 'sha256-{}';", base64(&bytes(hash)));
    assert!(
        CONTENT_SECURITY_POLICY.contains(&expected),
        "it is now {expected}"
    );
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(bits);
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            let digit = if digit > three.len() {
                '='
            } else {
                char::from(DIGITS[index as usize])
            };
            text.push(digit);
        }
    }
    text
}
