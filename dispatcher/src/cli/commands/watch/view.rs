//! From what is known to a frame. Pure: the same facts make the same frame.
//!
//! From top to bottom, each as far as there is room: the title, what runs and why, the signals, the CPUs, the history, the
//! keys. Pages over these are in `pages`.

use std::time::Duration;

use auto_ext_service::duration::span;
use auto_ext_signals::{Level, Signal};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::bars;
use super::cpus::Cpu;
use super::model::{Known, Measuring, Source};
use super::pages;
use super::pen::Pen;
use super::series::seconds_per_column;
use super::status;
use super::ui::{Page, Ui};
use crate::cli::commands::theme::Theme;
use crate::cli::commands::timeline;

/// The smallest terminal that is of use, in columns and lines.
const LEAST: (u16, u16) = (40, 8);
/// The smallest terminal with room for blank lines and a bar for each CPU.
const GENEROUS: (u16, u16) = (100, 34);
/// The width of the text before a gauge: name, level and value.
const SIGNAL_TEXT: usize = 24;
/// How far back the chart of schedulers goes.
const CHART: Duration = Duration::from_secs(3600);
/// The width of one CPU in the table of CPUs, and of its bar.
const CPU_ROOM: (usize, usize) = (32, 12);

/// A row about all CPUs: its name, and what it shows of each.
type Row = (&'static str, fn(&Cpu) -> Option<f64>);

/// Draws all.
pub(super) fn draw(frame: &mut Frame<'_>, known: &Known, ui: &Ui, theme: Theme) {
    let area = frame.area();
    let mut pen = Pen::new(frame.buffer_mut(), area, theme);
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (width, height) = LEAST;
        pen.text(&format!("too small: {width}x{height} are needed"));
        return;
    }
    let generous = area.width >= GENEROUS.0 && area.height >= GENEROUS.1;
    pen.keep_last_line();
    title(&mut pen, known, ui);
    for line in status::lines(known, theme, pen.width(), generous) {
        pen.line(line);
    }
    pen.gap(generous);
    signals(&mut pen, known);
    pen.gap(generous);
    cpus(&mut pen, known, generous);
    pen.gap(generous);
    if generous {
        chart(&mut pen, known);
    }
    history(&mut pen, known, ui);
    footer(&mut pen, ui, area);
    match ui.page {
        Page::Main => {}
        Page::Help => pages::help(frame, theme),
        Page::Why { scroll } => pages::why(frame, known, scroll, theme),
        Page::Pin { choice, time } => pages::pin(frame, known, choice, time, theme),
    }
}

fn title(pen: &mut Pen<'_>, known: &Known, ui: &Ui) {
    let (left, right) = (
        match known.facts() {
            Some(facts) => format!(" auto-ext {}", facts.version),
            None => " auto-ext".to_owned(),
        },
        if ui.paused {
            "paused, space goes on "
        } else {
            ""
        },
    );
    let gap = pen.width().saturating_sub(left.len() + right.len());
    let text = format!("{left}{}{right}", " ".repeat(gap));
    let style = pen.theme.chosen();
    pen.line(Span::styled(pen.theme.text(&text), style));
}

fn signals(pen: &mut Pen<'_>, known: &Known) {
    if let Source::Nobody { measuring, .. } = &known.source {
        let beside = match measuring {
            Measuring::Runs => "measured here",
            Measuring::Waits => "not measured yet",
            Measuring::Cannot(why) => return not_measured(pen, &why.clone()),
        };
        pen.heading("Signals", beside);
    } else {
        let [low, high] = pen.theme.marks();
        let beside = format!("low at {low}  high at {high}");
        pen.heading("Signals", &beside);
    }
    let room = pen.width().saturating_sub(SIGNAL_TEXT + 1);
    let gauge = (room / 3).clamp(8, 40);
    let past = room.saturating_sub(gauge);
    let each = seconds_per_column(past);
    for signal in Signal::ALL {
        let (value, level) = known.signal(signal);
        let threshold = known.thresholds.map(|thresholds| thresholds.get(signal));
        let full = bars::full(signal, threshold);
        let columns = known.series(signal).columns(past, each);
        let mut spans = vec![
            Span::raw(format!(" {:<12}", signal.name())),
            Span::styled(format!("{:<5}", level_name(level)), pen.theme.level(level)),
            Span::raw(match value {
                Some(value) => format!("{value:>5.2} "),
                None => format!("{:>5} ", "-"),
            }),
        ];
        spans.extend(bars::gauge(pen.theme, value, level, threshold, full, gauge));
        spans.push(Span::raw(" "));
        spans.extend(bars::past(pen.theme, &columns, full, past));
        pen.line(Line::from(spans));
    }
}

fn not_measured(pen: &mut Pen<'_>, why: &str) {
    pen.heading("Signals", "not measured");
    pen.text(&format!(" {why}"));
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::High => "HIGH",
        Level::Low => "low",
        Level::Unknown => "?",
    }
}

fn cpus(pen: &mut Pen<'_>, known: &Known, generous: bool) {
    let cpus = &known.cpus;
    if cpus.is_empty() {
        return pen.heading("CPUs", "");
    }
    let mean = |sum: f64| sum / cpus.len() as f64;
    let busy = mean(cpus.iter().map(|cpu| cpu.busy).sum());
    let waiting = cpus.iter().map(|cpu| cpu.waiting).sum::<Option<f64>>();
    let waiting = waiting.map_or(String::new(), |sum| {
        format!(", {:.2} waiting each", mean(sum))
    });
    let beside = format!("{} CPUs, {:.0} % busy{waiting}", cpus.len(), 100.0 * busy);
    pen.heading("CPUs", &beside);
    let columns = (pen.width() / CPU_ROOM.0).max(1);
    if generous && cpus.len().div_ceil(columns) <= 8 {
        return table(pen, known, columns);
    }
    // Of neighbours that share a column, the worst is shown.
    let width = pen.width().saturating_sub(SIGNAL_TEXT);
    let each = cpus.len().div_ceil(width.max(1));
    let rows: [Row; 2] = [
        ("load", |cpu| Some(cpu.busy)),
        ("waiting", |cpu| cpu.waiting),
    ];
    for (name, value) in rows {
        let shares: Option<Vec<f64>> = cpus
            .chunks(each)
            .map(|cpus| cpus.iter().map(value).reduce(max)?)
            .collect();
        let worst = cpus
            .iter()
            .filter_map(|cpu| Some((value(cpu)?, cpu.number)));
        let worst = worst.max_by(|a, b| a.0.total_cmp(&b.0));
        let (Some(shares), Some((most, number))) = (shares, worst) else {
            pen.text(&format!(" {name:<8}not counted by this kernel"));
            continue;
        };
        pen.line(Line::from(vec![
            Span::raw(format!(" {name:<8}")),
            Span::raw(format!("cpu{number:<4} {most:>5.2} ")),
            bars::row(pen.theme, &shares, pen.theme.level(Level::Low)),
        ]));
    }
}

fn max(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a?.max(b?))
}

/// Each CPU with its own bar.
fn table(pen: &mut Pen<'_>, known: &Known, columns: usize) {
    let theme = pen.theme;
    for cpus in known.cpus.chunks(columns) {
        let mut spans = Vec::new();
        for cpu in cpus {
            spans.push(Span::raw(format!(" {:>4} ", cpu.number)));
            let level = Level::Low;
            spans.extend(bars::gauge(
                theme,
                Some(cpu.busy),
                level,
                None,
                1.0,
                CPU_ROOM.1,
            ));
            let waiting = match cpu.waiting {
                Some(waiting) => format!("{waiting:>5.2}"),
                None => format!("{:>5}", "-"),
            };
            spans.push(Span::raw(format!("{:>4.0}% {waiting}  ", 100.0 * cpu.busy)));
        }
        pen.line(Line::from(spans));
    }
}

/// Which scheduler ran when, if the daemon has a history.
fn chart(pen: &mut Pen<'_>, known: &Known) {
    if known.history.is_empty() {
        return;
    }
    pen.heading("Which scheduler ran", "the last hour");
    let width = pen.width().saturating_sub(2);
    for line in timeline::lines(&known.history, known.now, CHART, width, pen.theme) {
        pen.line(format!(" {line}"));
    }
    pen.gap(true);
}

fn history(pen: &mut Pen<'_>, known: &Known, ui: &Ui) {
    let entries = known.history.len();
    let first = ui.scroll.min(entries.saturating_sub(1));
    let beside = match (entries, first) {
        (0, _) => String::new(),
        (_, 0) => format!("{entries} in all"),
        _ => format!("from {} of {entries}", first + 1),
    };
    pen.heading("What happened", &beside);
    if known.facts().is_some() && entries == 0 {
        pen.text(" nothing yet");
    }
    for entry in known.history.iter().skip(first) {
        if pen.left() == 0 {
            break;
        }
        let age = span(known.now.saturating_sub(entry.at));
        let style = history_style(pen.theme, entry.event);
        pen.line(Line::from(vec![
            Span::styled(format!("{age:>8} ago "), pen.theme.faint()),
            Span::styled(pen.theme.text(&entry.sentence()), style),
        ]));
    }
}

fn history_style(theme: Theme, event: crate::persistence::history::Kind) -> Style {
    use crate::persistence::history::Kind;
    match event {
        Kind::Failed | Kind::Exited | Kind::Refused => theme.warning(),
        Kind::Foreign => theme.foreign(),
        Kind::Switched | Kind::Started | Kind::Stopped | Kind::Trial => Style::new(),
    }
}

fn footer(pen: &mut Pen<'_>, ui: &Ui, area: Rect) {
    let last = Rect {
        y: area.bottom() - 1,
        height: 1,
        ..area
    };
    let theme = pen.theme;
    let mut pen = Pen::new(pen.buffer, last, theme);
    if let Some(note) = &ui.note {
        let style = if note.failed {
            theme.warning()
        } else {
            theme.strong()
        };
        return pen.line(Span::styled(theme.text(&format!(" {}", note.text)), style));
    }
    let mut spans = Vec::new();
    for (key, what) in [
        ("q", "quit"),
        ("?", "help"),
        ("space", "pause"),
        ("p", "pin"),
        ("u", "unpin"),
        ("w", "why"),
        ("up/down", "scroll"),
    ] {
        spans.push(Span::styled(format!(" {key}"), theme.strong()));
        spans.push(Span::styled(format!(" {what} "), theme.faint()));
    }
    pen.line(Line::from(spans));
}
