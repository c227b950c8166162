//! The pages that can be opened over the main view: the keys, the last decision, the choice of what to pin.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear};

use super::model::Known;
use super::pen::Pen;
use super::ui::TIMES;
use crate::cli::commands::theme::Theme;
use crate::cli::commands::why;

const KEYS: [(&str, &str); 10] = [
    ("q, Esc, Ctrl-C", "leave"),
    ("space", "pause: what is shown stands still; again goes on"),
    ("p", "pin a scheduler: it runs, whatever is measured"),
    ("u", "unpin: leave the choice to the policy"),
    ("w", "why: the last decision and what would change it"),
    ("up, down, j, k", "scroll what happened, or the page"),
    ("PgUp, PgDn", "the same, faster"),
    ("Home, End, g, G", "the newest, the oldest"),
    ("Ctrl-L", "draw the screen again"),
    ("Ctrl-Z", "back to the shell, `fg` returns"),
];

/// The text below the keys.
const MEANING: [&str; 4] = [
    "A signal is HIGH from its upper mark on and low from its lower mark down;",
    "in between it stays as it was. Its past is at the right, a minute or more.",
    "Waiting: tasks that wait for a CPU, on average over the last second.",
    "Pin and unpin are for those whom polkit lets manage auto-ext.",
];

/// Draws the keys, and what the view shows.
pub(super) fn help(frame: &mut Frame<'_>, theme: Theme) {
    let key = |(key, what): (&str, &str)| {
        Line::from(vec![
            Span::styled(format!("{key:<16} "), theme.strong()),
            Span::raw(what.to_owned()),
        ])
    };
    let mut lines: Vec<Line<'static>> = KEYS.into_iter().map(key).collect();
    lines.push(Line::default());
    lines.extend(MEANING.map(Line::from));
    over(frame, theme, "Keys", lines, 0);
}

/// The lines of the explanation.
pub(super) fn explanation(known: &Known) -> Vec<String> {
    match &known.why {
        Some(why) => why::text(why).lines().map(str::to_owned).collect(),
        None => vec!["There is no decision to be explained: nobody decides.".to_owned()],
    }
}

/// Draws the explanation of the last decision from line `scroll` on.
pub(super) fn why(frame: &mut Frame<'_>, known: &Known, scroll: usize, theme: Theme) {
    let lines = explanation(known);
    let lines = lines.iter().map(|line| Line::from(theme.text(line)));
    over(frame, theme, "Why", lines.collect(), scroll);
}

/// Draws the schedulers that can be pinned, with the one at `choice` marked, and the time at `time` of [`TIMES`].
pub(super) fn pin(frame: &mut Frame<'_>, known: &Known, choice: usize, time: usize, theme: Theme) {
    let names = known.pinnable();
    let choice = choice.min(names.len().saturating_sub(1));
    let mut lines = vec![
        Line::from(vec![
            Span::styled("Enter", theme.strong()),
            Span::raw(" pins it "),
            Span::styled(TIMES[time].1, theme.strong()),
            Span::raw("; left and right change the time, Esc leaves"),
        ]),
        Line::default(),
    ];
    lines.extend(names.iter().enumerate().map(|(number, name)| {
        let style = if number == choice {
            theme.chosen()
        } else {
            Style::new()
        };
        Line::styled(format!(" {} ", theme.text(name)), style)
    }));
    // The choice is visible in a list of any length.
    let room = usize::from(frame.area().height).saturating_sub(6);
    let scroll = (choice + 3).saturating_sub(room);
    over(frame, theme, "Pin a scheduler", lines, scroll);
}

/// Draws `lines` from `scroll` on in a box in the middle.
fn over(
    frame: &mut Frame<'_>,
    theme: Theme,
    title: &'static str,
    lines: Vec<Line<'static>>,
    scroll: usize,
) {
    let area = frame.area();
    let longest = lines.iter().map(Line::width).max().unwrap_or_default();
    let size = |wanted: usize, most: u16| u16::try_from(wanted).unwrap_or(most).min(most);
    let width = size(longest + 4, area.width);
    let height = size(lines.len() + 2, area.height.saturating_sub(1));
    let area = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height.saturating_sub(1) - height) / 2,
        width,
        height,
    };
    let block = Block::bordered()
        .border_set(theme.border())
        .title(Line::styled(format!(" {title} "), theme.strong()));
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    let inside = Rect {
        x: inside.x + inside.width.min(1),
        width: inside.width.saturating_sub(2),
        ..inside
    };
    // It scrolls no further than to the end.
    let scroll = scroll.min(lines.len().saturating_sub(usize::from(inside.height)));
    let mut pen = Pen::new(frame.buffer_mut(), inside, theme);
    for line in lines.into_iter().skip(scroll) {
        pen.line(line);
    }
}
