//! Frames as text: what each state looks like, on terminals of all sizes. With `UPDATE_SCREENS=1`
//! the files in `tests` are written, to be looked at before they are committed.

use std::path::Path;

use auto_ext_core::{ConditionNow, Explanation, KernelState, Rejected, RuleNow, SignalNow};
use auto_ext_signals::{Level, Levels, Signal, Signals, Thresholds};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::cpus::Cpu;
use super::model::{Facts, Known};
use super::ui::{Note, Page, Ui};
use super::view::draw;
use crate::cli::commands::theme::Theme;
use crate::persistence::history::{Entry, Kind, Way};

const SECOND: u64 = 1_000_000;
const NOW: u64 = 1_800_000_000 * SECOND;
const COLOUR: Theme = Theme {
    colour: true,
    unicode: true,
};

fn frame(known: &Known, ui: &Ui, theme: Theme, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(frame, known, ui, theme))
        .unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    rows.map(|row| {
        let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", row.trim_end())
    })
    .collect()
}

/// Compares a frame with the file `name`.
fn check(name: &str, known: &Known, ui: &Ui, size: (u16, u16)) {
    check_theme(name, known, ui, COLOUR, size);
}

fn check_theme(name: &str, known: &Known, ui: &Ui, theme: Theme, size: (u16, u16)) {
    let text = text(&frame(known, ui, theme, size));
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/cli/commands/watch/tests")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} is now:\n{text}");
}

fn enabled(ops: &str) -> KernelState {
    KernelState::Enabled { ops: ops.into() }
}

fn rule(class: &str, holds: bool, condition: &str, now: &str, candidates: &[&str]) -> RuleNow {
    let conditions = ConditionNow {
        condition: condition.into(),
        holds,
        now: now.into(),
    };
    RuleNow {
        class: class.into(),
        precedence: "measured".into(),
        holds,
        conditions: (!condition.is_empty())
            .then_some(conditions)
            .into_iter()
            .collect(),
        candidates: candidates.iter().map(|&name| name.into()).collect(),
    }
}

fn explanation() -> Explanation {
    let thresholds = Thresholds::default();
    let signal = |signal| {
        let threshold = thresholds.get(signal);
        SignalNow {
            signal,
            value: None,
            level: Level::Low,
            high: threshold.high,
            low: threshold.low,
            settle_ms: 500,
        }
    };
    Explanation {
        mode: "auto".into(),
        class: "interactive".into(),
        class_for: 200,
        desired: "bpfland-low-latency".into(),
        because: "class interactive (interactive high)".into(),
        rejected: vec![Rejected {
            candidate: "lavd".into(),
            why: "is quarantined for 28s".into(),
        }],
        waits: None,
        switching: false,
        rules: vec![
            rule(
                "network",
                false,
                "net high",
                "0.02, high at 0.1",
                &["cosmos", "kernel"],
            ),
            rule(
                "interactive",
                true,
                "interactive high",
                "0.71, low at 0.4",
                &["bpfland-low-latency", "kernel"],
            ),
            rule("idle", true, "", "", &["kernel"]),
        ],
        signals: Signal::ALL.map(signal).into(),
        would_change: vec!["class network with net high (0.02, high at 0.1)".into()],
        switches: (4, 30),
        compared: (0, 240),
        trial: None,
        no_trial: Vec::new(),
        found: Vec::new(),
    }
}

fn entry(age: u64, event: Kind, from: &str, to: &str) -> Entry {
    Entry {
        at: NOW - age * SECOND,
        event,
        from: from.into(),
        to: to.into(),
        class: "interactive".into(),
        reason: "class interactive (interactive high)".into(),
        error: String::new(),
        way: None,
        gap_us: None,
        trial: false,
    }
}

fn history() -> Vec<Entry> {
    vec![
        Entry {
            way: Some(Way::Hot),
            gap_us: Some(1234),
            ..entry(192, Kind::Switched, "kernel", "scx_bpfland")
        },
        Entry {
            error: "exited with status 1: Error: EXIT: runtime error (ops.init() failed (-22))"
                .into(),
            ..entry(220, Kind::Failed, "kernel", "scx_lavd")
        },
        entry(3725, Kind::Foreign, "simple", "kernel"),
        Entry {
            reason: "version 0.1.0".into(),
            ..entry(90_000, Kind::Started, "kernel", "kernel")
        },
    ]
}

fn cpus(count: u32) -> Vec<Cpu> {
    (0..count)
        .map(|number| Cpu {
            number,
            busy: f64::from(number * 7 % 10) / 10.0,
            waiting: Some(f64::from(number % 3) / 4.0),
        })
        .collect()
}

fn facts() -> Facts {
    let mut signals = Signals::default();
    let values = [0.34, 0.05, 0.04, 0.0, 0.021, 0.003, 0.71];
    for (signal, value) in Signal::ALL.into_iter().zip(values) {
        signals.set(signal, Some(value));
    }
    Facts {
        owner: "auto-ext".into(),
        pid: 4711,
        desired: "scx_bpfland".into(),
        mode: "auto".into(),
        class: "interactive".into(),
        signals,
        levels: Signal::ALL
            .map(|signal| match signal {
                Signal::Interactive => (signal, Level::High),
                _ => (signal, Level::Low),
            })
            .into(),
        reason: "class interactive (interactive high); lavd is quarantined for 28s".into(),
        since: NOW - 192 * SECOND,
        switches: 4,
        quarantined: vec![("lavd".into(), NOW + 28 * SECOND)],
        last_error: String::new(),
        trial: serde_json::Value::Null,
        version: "0.1.0".into(),
    }
}

/// A machine in order, which was watched for two minutes.
fn known() -> Known {
    with(&facts(), &enabled("bpfland_1.1.4_x86_64_unknown_linux_gnu"))
}

fn with(facts: &Facts, kernel: &KernelState) -> Known {
    let mut known = Known::new(NOW, kernel.clone());
    known.set_why(explanation());
    known.set_history(history());
    known.schedulers = vec!["bpfland".into(), "rusty".into()];
    known.cpus = cpus(2);
    for second in 0..120_u32 {
        let mut facts = facts.clone();
        if second < 119 {
            let wave = f64::from(second % 40) / 40.0;
            facts.signals.set(Signal::Cpu, Some(wave));
            if second < 60 {
                facts.signals.set(Signal::Interactive, Some(0.1));
                facts.levels[Signal::Interactive as usize].1 = Level::Low;
            }
        }
        known.set_facts(facts);
        known.second(NOW, kernel.clone());
    }
    known
}

fn on(page: Page) -> Ui {
    Ui { page, ..Ui::new() }
}

#[test]
fn a_machine_in_order_on_the_smallest_terminal_and_a_large_one() {
    let mut known = known();
    check("auto-80x24", &known, &Ui::new(), (80, 24));
    known.cpus = cpus(16);
    check("auto-160x50", &known, &Ui::new(), (160, 50));
}

#[test]
fn a_machine_with_many_cpus_shows_them_all_in_a_line() {
    let mut known = known();
    known.cpus = cpus(256);
    check("many-cpus-100x30", &known, &Ui::new(), (100, 30));
}

#[test]
fn a_scheduler_of_somebody_else_is_shown_as_such() {
    let facts = Facts {
        owner: "foreign".into(),
        pid: 0,
        desired: "kernel".into(),
        mode: "yielded".into(),
        reason: "a scheduler that auto-ext did not start is loaded; class idle".into(),
        quarantined: Vec::new(),
        ..facts()
    };
    let known = with(&facts, &enabled("homemade"));
    check("foreign-80x24", &known, &Ui::new(), (80, 24));
}

#[test]
fn without_sched_ext_nothing_is_started_and_unknown_levels_are_not_low() {
    let facts = Facts {
        owner: "none".into(),
        desired: "kernel".into(),
        mode: "observe".into(),
        reason: "observing: this kernel has no sched_ext; class idle".into(),
        last_error: "/etc/auto-ext/policies.yaml:3:1: error: unknown key `rulse`".into(),
        levels: Signal::ALL.map(|signal| (signal, Level::Unknown)).into(),
        signals: Signals::default(),
        quarantined: Vec::new(),
        ..facts()
    };
    let known = with(&facts, &KernelState::Unsupported);
    check("unsupported-80x24", &known, &Ui::new(), (80, 24));
}

#[test]
fn a_trial_has_a_line_that_says_when_what_ran_before_is_back() {
    let trial = serde_json::json!({
        "class": "interactive", "candidate": "flash", "runs": "flash", "champion": "bpfland", "turn": 3, "of_turns": 12,
        "pairs": 0, "turn_end": NOW + 9 * SECOND
    });
    let known = with(&Facts { trial, ..facts() }, &enabled("flash"));
    let shown = text(&frame(&known, &Ui::new(), COLOUR, (100, 34)));
    let line = "flash against kernel, turn 3 of 12, back in 9 s";
    assert!(shown.contains(line), "{shown}");
    let without = text(&frame(&self::known(), &Ui::new(), COLOUR, (100, 34)));
    assert!(!without.contains("Trial"), "{without}");
}

#[test]
fn pinned_and_on_its_way_what_is_wanted_is_shown_beside_what_runs() {
    let facts = Facts {
        owner: "none".into(),
        desired: "scx_rusty".into(),
        mode: "pinned".into(),
        reason: "pinned; rusty is being brought in".into(),
        ..facts()
    };
    let known = with(&facts, &KernelState::Enabling);
    let ui = Ui {
        note: Some(Note {
            text: "rusty is pinned".into(),
            failed: false,
        }),
        ..Ui::new()
    };
    check("pinned-80x24", &known, &ui, (80, 24));
}

#[test]
fn without_a_daemon_what_the_kernel_says_is_shown_and_what_is_measured_here() {
    let mut known = Known::new(NOW, KernelState::Disabled);
    known.cpus = cpus(2);
    check("asked-80x24", &known, &Ui::new(), (80, 24));
    known.daemon_is_gone("the daemon does not run (systemctl start auto-ext): no such name");
    known.cannot_measure("BPF programs may not be loaded: root is needed");
    check("alone-80x24", &known, &Ui::new(), (80, 24));
    let mut levels = Levels::all(Level::Low);
    levels.set(Signal::Cpu, Level::High);
    let mut signals = Signals::default();
    signals.set(Signal::Cpu, Some(0.97));
    known.measured((signals, levels, Thresholds::default()));
    known.second(NOW, enabled("bpfland"));
    check("measuring-80x24", &known, &Ui::new(), (80, 24));
}

#[test]
fn what_a_daemon_said_does_not_outlive_it() {
    let mut known = known();
    known.daemon_is_gone("it ended");
    assert_eq!(known.facts(), None);
    assert_eq!(known.why, None);
    assert_eq!(known.signal(Signal::Cpu), (None, Level::Unknown));
    // Measured here is as good as nothing once the daemon is back.
    known.set_facts(facts());
    known.measured((
        Signals::default(),
        Levels::all(Level::High),
        Thresholds::default(),
    ));
    assert_eq!(known.signal(Signal::Cpu), (Some(0.34), Level::Low));
}

#[test]
fn each_page_is_drawn_over_the_main_view() {
    let known = known();
    check("help-80x24", &known, &on(Page::Help), (80, 24));
    let why = on(Page::Why { scroll: 0 });
    check("why-80x24", &known, &why, (80, 24));
    let pin = on(Page::Pin { choice: 2, time: 2 });
    check("pin-80x24", &known, &pin, (80, 24));
}

#[test]
fn the_history_scrolls_and_a_paused_view_says_so() {
    let ui = Ui {
        scroll: 2,
        paused: true,
        ..Ui::new()
    };
    check("scrolled-80x24", &known(), &ui, (80, 24));
}

#[test]
fn without_unicode_all_is_ascii_and_without_colours_nothing_has_one() {
    let theme = Theme {
        colour: false,
        unicode: false,
    };
    let mut known = known();
    let mut long = facts();
    long.reason = "für alle Fälle".into();
    known.set_facts(long);
    check_theme("ascii-80x24", &known, &Ui::new(), theme, (80, 24));
    for page in [
        Page::Main,
        Page::Help,
        Page::Why { scroll: 0 },
        Page::Pin { choice: 0, time: 0 },
    ] {
        let buffer = frame(&known, &on(page), theme, (120, 40));
        for cell in buffer.content() {
            assert!(cell.symbol().is_ascii(), "{:?}", cell.symbol());
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
    }
}

#[test]
fn a_high_signal_stands_out_with_colours_and_without() {
    for colour in [true, false] {
        let theme = Theme { colour, ..COLOUR };
        let buffer = frame(&known(), &Ui::new(), theme, (80, 24));
        let cells = buffer.content().chunks(80);
        let row = cells
            .into_iter()
            .find(|row| row.iter().any(|cell| cell.symbol() == "H"))
            .unwrap();
        let high = row.iter().find(|cell| cell.symbol() == "H").unwrap();
        assert!(high.modifier.contains(Modifier::BOLD));
        assert_eq!(high.fg == Color::Yellow, colour);
    }
}

/// Text that would take the terminal over if it reached it.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\r\n\t\u{9b}31m\u{202e}evil\u{200b}";

fn hostile() -> Known {
    let facts = Facts::of(&crate::cli::commands::client::Properties::from([(
        "Reason".to_owned(),
        zbus::OwnedVariant::try_from(zbus::Variant::from(HOSTILE)).unwrap(),
    )]));
    let mut known = with(&facts, &enabled(HOSTILE));
    known.set_why(Explanation {
        because: HOSTILE.into(),
        waits: Some(HOSTILE.into()),
        rules: vec![rule(HOSTILE, true, HOSTILE, HOSTILE, &[HOSTILE])],
        would_change: vec![HOSTILE.into()],
        rejected: vec![Rejected {
            candidate: HOSTILE.into(),
            why: HOSTILE.into(),
        }],
        no_trial: vec![HOSTILE.into()],
        ..explanation()
    });
    known.set_history(vec![Entry {
        error: HOSTILE.into(),
        reason: HOSTILE.into(),
        ..entry(5, Kind::Failed, HOSTILE, HOSTILE)
    }]);
    known
}

#[test]
fn nothing_that_steers_a_terminal_reaches_it() {
    let mut gone = hostile();
    gone.daemon_is_gone(HOSTILE);
    gone.cannot_measure(HOSTILE);
    for known in [hostile(), gone] {
        for page in [
            Page::Main,
            Page::Why { scroll: 0 },
            Page::Pin { choice: 1, time: 0 },
        ] {
            let shown = text(&frame(&known, &on(page), COLOUR, (160, 50)));
            assert!(shown.contains("evil"), "{shown}");
            let steers = |char: char| {
                char != '\n'
                    && auto_ext_service::sanitize::sanitize(&char.to_string()) != char.to_string()
            };
            assert_eq!(shown.find(steers), None, "{shown}");
        }
    }
}

#[test]
fn names_of_any_length_are_cut_and_said_to_be() {
    let long = "x".repeat(2000);
    let wide = "界".repeat(2000);
    for name in [&long, &wide] {
        let facts = Facts {
            class: name.clone(),
            mode: name.clone(),
            reason: name.clone(),
            desired: name.clone(),
            last_error: name.clone(),
            quarantined: vec![(name.clone(), NOW)],
            ..facts()
        };
        let mut known = with(&facts, &enabled(name));
        known.set_history(vec![entry(5, Kind::Switched, name, name)]);
        let shown = text(&frame(&known, &Ui::new(), COLOUR, (80, 24)));
        assert!(shown.lines().nth(1).unwrap().ends_with('…'), "{shown}");
        frame(&known, &Ui::new(), COLOUR, (160, 50));
    }
}

#[test]
fn terminals_of_any_size_are_drawn_on() {
    let mut many = known();
    many.cpus = cpus(300);
    for known in [known(), many, Known::new(0, KernelState::Disabled)] {
        for width in [1, 20, 39, 40, 41, 79, 80, 120, 200] {
            for height in (1..60).step_by(3) {
                for page in [
                    Page::Main,
                    Page::Help,
                    Page::Why { scroll: 9 },
                    Page::Pin { choice: 9, time: 0 },
                ] {
                    frame(&known, &on(page), COLOUR, (width, height));
                }
            }
        }
    }
}

#[test]
fn the_clock_may_go_backwards() {
    let mut known = known();
    known.second(0, KernelState::Disabled);
    frame(&known, &Ui::new(), COLOUR, (80, 24));
}
