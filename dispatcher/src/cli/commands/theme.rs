//! Colours and glyphs, as far as the terminal has them. Without colours, what matters is bold, dim or reversed; without
//! Unicode, bars are made of ASCII.

use std::env;
use std::ffi::OsStr;

use auto_ext_signals::Level;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Theme {
    pub(crate) colour: bool,
    pub(crate) unicode: bool,
}

/// The glyphs of bars: empty, and eight steps up to full.
pub(crate) type Steps = [&'static str; 9];

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

impl Theme {
    /// That of the terminal, as its environment describes it.
    pub(crate) fn of_terminal() -> Self {
        Self::of(|name| env::var_os(name))
    }

    fn of<V: AsRef<OsStr>>(variable: impl Fn(&str) -> Option<V>) -> Self {
        let text = |name| {
            let value = variable(name).map(|value| value.as_ref().to_string_lossy().into_owned());
            value.filter(|value| !value.is_empty())
        };
        let term = text("TERM").unwrap_or_default();
        // The kernel's console has fonts of 256 or 512 glyphs.
        let few_glyphs = term == "linux" || term.starts_with("vt") || term == "dumb";
        let no_colours = term.starts_with("vt") || term == "dumb" || term.ends_with("-m");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(text);
        let locale = locale.unwrap_or_default().to_lowercase();
        Self {
            // See no-color.org.
            colour: text("NO_COLOR").is_none() && !no_colours,
            unicode: (locale.contains("utf-8") || locale.contains("utf8")) && !few_glyphs,
        }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// What stands out: headings, keys.
    pub(crate) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is less important.
    pub(crate) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What is to be noticed.
    pub(crate) fn warning(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What auto-ext did.
    pub(crate) fn ours(self) -> Style {
        self.coloured(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// What somebody else did.
    pub(crate) fn foreign(self) -> Style {
        self.coloured(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// What is chosen.
    pub(crate) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(crate) fn level(self, level: Level) -> Style {
        match level {
            Level::High => self.coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Level::Low => self.coloured(Color::Cyan),
            Level::Unknown => self.faint(),
        }
    }

    /// Bars that grow upwards.
    fn rising(self) -> Steps {
        if self.unicode {
            [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
        } else {
            [" ", ".", ".", ":", ":", "=", "=", "#", "#"]
        }
    }

    /// A share from 0 to 1 as a bar that grows upwards; every share above 0 is visible.
    pub(crate) fn share(self, share: f64) -> &'static str {
        let least = usize::from(share > 0.0);
        self.rising()[eighths(share, 1).max(least)]
    }

    /// Bars that grow to the right.
    pub(crate) fn growing(self) -> Steps {
        if self.unicode {
            [" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"]
        } else {
            [" ", " ", " ", " ", "-", "-", "-", "=", "="]
        }
    }

    /// Where a signal becomes low and where high, in a gauge.
    pub(crate) fn marks(self) -> [&'static str; 2] {
        if self.unicode {
            ["┊", "│"]
        } else {
            [":", "|"]
        }
    }

    /// What stands for text that did not fit.
    pub(crate) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "~" }
    }

    pub(crate) fn rule(self) -> &'static str {
        if self.unicode { "─" } else { "-" }
    }

    pub(crate) fn border(self) -> border::Set<'static> {
        if self.unicode {
            border::PLAIN
        } else {
            ASCII_BORDER
        }
    }

    /// `text` with characters replaced that the terminal may not have.
    pub(crate) fn text(self, text: &str) -> String {
        if self.unicode {
            text.to_owned()
        } else {
            let char = |char: char| if char.is_ascii() { char } else { '?' };
            text.chars().map(char).collect()
        }
    }
}

/// Whole eighths of cells that `share`, from 0 to 1, of `cells` takes.
pub(crate) fn eighths(share: f64, cells: usize) -> usize {
    whole(share.clamp(0.0, 1.0) * 8.0 * cells as f64 + 0.5).min(8 * cells)
}

/// The whole part of a number; the nearest `usize` of one that does not fit, 0 of NaN.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what it does about numbers that do not fit is what is wanted"
)]
pub(crate) fn whole(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theme(variables: &[(&str, &str)]) -> Theme {
        Theme::of(|name| {
            let variable = variables.iter().find(|(known, _)| *known == name);
            variable.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn colours_and_glyphs_are_those_that_the_environment_promises() {
        let utf8 = ("LANG", "C.UTF-8");
        for (variables, colour, unicode) in [
            (vec![("TERM", "xterm-256color"), utf8], true, true),
            (
                vec![("TERM", "xterm"), utf8, ("NO_COLOR", "1")],
                false,
                true,
            ),
            (vec![("TERM", "xterm"), utf8, ("NO_COLOR", "")], true, true),
            (vec![("TERM", "xterm"), utf8, ("LC_ALL", "C")], true, false),
            (vec![("TERM", "xterm"), ("LC_ALL", ""), utf8], true, true),
            (vec![("TERM", "linux"), utf8], true, false),
            (vec![("TERM", "vt220"), utf8], false, false),
            (vec![], true, false),
        ] {
            let expected = Theme { colour, unicode };
            assert_eq!(theme(&variables), expected, "{variables:?}");
        }
    }
}
