//! Writing lines into a part of a frame.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::cli::commands::theme::Theme;

/// Writes line by line into an area.
pub(super) struct Pen<'b> {
    pub(super) buffer: &'b mut Buffer,
    area: Rect,
    y: u16,
    pub(super) theme: Theme,
}

impl<'b> Pen<'b> {
    /// Begins at the top of `area`.
    pub(super) fn new(buffer: &'b mut Buffer, area: Rect, theme: Theme) -> Self {
        let y = area.y;
        Self {
            buffer,
            area,
            y,
            theme,
        }
    }

    /// The width of the area, in cells.
    pub(super) fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    /// How many lines are left.
    pub(super) fn left(&self) -> usize {
        usize::from(self.area.bottom().saturating_sub(self.y))
    }

    /// Keeps the last line of the area for something else.
    pub(super) fn keep_last_line(&mut self) {
        self.area.height -= 1;
    }

    /// Writes a line. What does not fit is cut off, which an ellipsis shows.
    pub(super) fn line(&mut self, line: impl Into<Line<'static>>) {
        if self.left() > 0 {
            let line = fit(self.theme, line.into(), self.width());
            let width = self.area.width;
            self.buffer.set_line(self.area.x, self.y, &line, width);
            self.y += 1;
        }
    }

    /// Writes a text as one line.
    pub(super) fn text(&mut self, text: &str) {
        self.line(self.theme.text(text));
    }

    /// Leaves a line blank, if that is `wanted`.
    pub(super) fn gap(&mut self, wanted: bool) {
        if wanted && self.left() > 0 {
            self.y += 1;
        }
    }

    /// Writes a line between sections with its heading, and the text `beside` it.
    pub(super) fn heading(&mut self, heading: &str, beside: &str) {
        let rule = self.theme.rule();
        let used = heading.len() + beside.chars().count() + 8;
        let rest = rule.repeat(self.width().saturating_sub(used));
        let faint = self.theme.faint();
        self.line(Line::from(vec![
            Span::styled(format!("{rule}{rule} "), faint),
            Span::styled(heading.to_owned(), self.theme.strong()),
            Span::styled(format!(" {rest} {}", self.theme.text(beside)), faint),
            Span::styled(format!(" {rule}{rule}"), faint),
        ]));
    }
}

/// `line` in `width` cells, ending with an ellipsis if it was longer.
fn fit(theme: Theme, line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    let mut left = width.saturating_sub(1);
    let mut spans = Vec::new();
    for span in line.spans {
        let mut content = String::new();
        for char in span.content.chars() {
            let char = char.to_string();
            let width = Span::raw(char.as_str()).width();
            if width > left {
                content.push_str(theme.ellipsis());
                spans.push(Span::styled(content, span.style));
                return Line::from(spans).style(line.style);
            }
            left -= width;
            content.push_str(&char);
        }
        spans.push(Span::styled(content, span.style));
    }
    Line::from(spans)
}
