//! A screen as SVG. Bars are drawn as rectangles, so that they look the same in every font.

use std::fmt::Write as _;

use super::terminal::{Cell, Look};

/// The size of a cell and of its text, in pixels.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
const FONT: f64 = 14.0;
/// From the top of a cell to the line that its text stands on.
const ASCENT: f64 = 13.5;
const MARGIN: f64 = 12.0;

const BACKGROUND: &str = "#1c1f24";
const FOREGROUND: &str = "#d7dae0";
/// The eight colours of a terminal.
const COLOURS: [&str; 8] = [
    "#3b4048", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0",
];

/// Draws the rows of a screen.
pub(super) fn draw(rows: &[Vec<Cell>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = columns as f64 * WIDTH + 2.0 * MARGIN;
    let height = rows.len() as f64 * HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" font-size=\"{FONT}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for (number, row) in rows.iter().enumerate() {
        let y = MARGIN + number as f64 * HEIGHT;
        let mut column = 0;
        for run in row.chunk_by(|a, b| a.look == b.look && bar(a.char) == bar(b.char)) {
            draw_run(&mut svg, run, MARGIN + column as f64 * WIDTH, y);
            column += run.len();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Draws cells that look alike.
fn draw_run(svg: &mut String, run: &[Cell], x: f64, y: f64) {
    let Some(first) = run.first() else {
        return;
    };
    let width = run.len() as f64 * WIDTH;
    let (front, back) = colours(first.look);
    if back != BACKGROUND {
        rectangle(svg, (x, y, width, HEIGHT), back, first.look);
    }
    if let Some((share_x, share_y)) = bar(first.char) {
        let (width, height) = (width * share_x, HEIGHT * share_y);
        if share_x < 1.0 {
            // Each cell has a part of its own.
            for cell in 0..run.len() {
                let x = x + cell as f64 * WIDTH;
                rectangle(svg, (x, y, WIDTH * share_x, height), front, first.look);
            }
        } else {
            rectangle(
                svg,
                (x, y + HEIGHT - height, width, height),
                front,
                first.look,
            );
        }
        return;
    }
    let text: String = run.iter().map(|cell| cell.char).collect();
    let shown = text.trim_end();
    if shown.trim_start().is_empty() {
        return;
    }
    let leading = shown.len() - shown.trim_start().len();
    let shown = shown.trim_start();
    let x = x + leading as f64 * WIDTH;
    let length = shown.chars().count() as f64 * WIDTH;
    let y = y + ASCENT;
    let weight = if first.look.bold {
        " font-weight=\"bold\""
    } else {
        ""
    };
    let opacity = opacity(first.look);
    // Memory takes any text.
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\" \
         fill=\"{front}\"{weight}{opacity}>{}</text>",
        escaped(shown)
    );
}

fn rectangle(
    svg: &mut String,
    (x, y, width, height): (f64, f64, f64, f64),
    fill: &str,
    look: Look,
) {
    let opacity = opacity(look);
    // Memory takes any text.
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"{opacity}/>"
    );
}

fn opacity(look: Look) -> &'static str {
    if look.dim { " opacity=\"0.6\"" } else { "" }
}

fn colours(look: Look) -> (&'static str, &'static str) {
    let front = look
        .colour
        .and_then(|colour| COLOURS.get(usize::from(colour)));
    let front = front.copied().unwrap_or(FOREGROUND);
    if look.reversed {
        (BACKGROUND, front)
    } else {
        (front, BACKGROUND)
    }
}

/// The shares of its cell's width and height that a bar fills: from the left, from the bottom.
fn bar(char: char) -> Option<(f64, f64)> {
    let code = u32::from(char);
    match char {
        '▁'..='█' => Some((1.0, f64::from(code - 0x2580) / 8.0)),
        '▉'..='▏' => Some((f64::from(0x2590 - code) / 8.0, 1.0)),
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str, look: Look) -> Vec<Cell> {
        text.chars().map(|char| Cell { char, look }).collect()
    }

    #[test]
    fn text_stands_in_its_columns_and_bars_are_rectangles() {
        let svg = draw(&[row("  a <b> █▌", Look::default())]);
        assert!(svg.contains("x=\"28.8\""), "{svg}");
        assert!(svg.contains(">a &lt;b&gt;</text>"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        assert!(svg.contains("width=\"4.2\" height=\"18.0\""), "{svg}");
    }

    #[test]
    fn what_is_reversed_has_a_background_and_what_is_dim_is_fainter() {
        let reversed = Look {
            reversed: true,
            ..Look::default()
        };
        let svg = draw(&[row("a", reversed)]);
        assert!(svg.contains(&format!("fill=\"{FOREGROUND}\"/>")), "{svg}");
        let dim = Look {
            dim: true,
            ..Look::default()
        };
        assert!(draw(&[row("a", dim)]).contains("opacity"));
    }
}
