//! Numbers as bars: gauges with thresholds, and the past as a row of columns.

use auto_ext_signals::{Level, Signal, Threshold};
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use super::series::Second;
use crate::cli::commands::theme::{Theme, eighths, whole};

/// The value at which the bars of `signal` are full, such that its thresholds are well apart.
pub(super) fn full(signal: Signal, threshold: Option<Threshold>) -> f64 {
    threshold.map_or(1.0, |threshold| signal.full_scale(threshold.high))
}

/// A bar of `width` cells for `value` of `full`, with marks where the level changes.
pub(super) fn gauge(
    theme: Theme,
    value: Option<f64>,
    level: Level,
    threshold: Option<Threshold>,
    full: f64,
    width: usize,
) -> Vec<Span<'static>> {
    let eighths = value.map_or(0, |value| eighths(value / full, width));
    let mark_at = |value: f64| whole(value / full * width as f64).min(width.saturating_sub(1));
    let marks = threshold.map(|threshold| [mark_at(threshold.low), mark_at(threshold.high)]);
    (0..width)
        .map(|cell| {
            let filled = eighths.saturating_sub(8 * cell).min(8);
            let mark = marks.and_then(|marks| {
                // The upper one counts where both are in the same cell.
                (0..2).rev().find(|&which| marks[which] == cell)
            });
            let style = theme.level(level);
            match mark {
                Some(which) if filled >= 4 => {
                    let style = style.add_modifier(Modifier::REVERSED);
                    Span::styled(theme.marks()[which], style)
                }
                Some(which) => Span::raw(theme.marks()[which]),
                None if filled == 0 && theme.unicode => Span::styled("·", theme.faint()),
                None => Span::styled(theme.growing()[filled], style),
            }
        })
        .collect()
}

/// The past of a signal as a row of `width` columns, the newest at the right.
pub(super) fn past(
    theme: Theme,
    columns: &[Second],
    full: f64,
    width: usize,
) -> Vec<Span<'static>> {
    let missing = width.saturating_sub(columns.len());
    let nothing = std::iter::repeat_n(Span::raw(" "), missing);
    let columns = columns.iter().map(|second| match second.value {
        Some(value) => Span::styled(theme.share(value / full), theme.level(second.level)),
        None => Span::styled("?", theme.faint()),
    });
    nothing.chain(columns).take(width).collect()
}

/// Shares, each as one column.
pub(super) fn row(theme: Theme, shares: &[f64], style: Style) -> Span<'static> {
    let columns = shares.iter().map(|share| theme.share(*share));
    Span::styled(columns.collect::<String>(), style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const UNICODE: Theme = Theme {
        colour: false,
        unicode: true,
    };
    const ASCII: Theme = Theme {
        colour: false,
        unicode: false,
    };

    fn threshold(low: f64, high: f64) -> Option<Threshold> {
        let mean_over = Duration::ZERO;
        Some(Threshold {
            high,
            low,
            mean_over,
        })
    }

    fn text(spans: &[Span<'_>]) -> String {
        spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn a_gauge_is_as_full_as_its_value_and_marks_both_thresholds() {
        let bar = |theme, value| {
            let threshold = threshold(0.5, 0.8);
            text(&gauge(theme, value, Level::Low, threshold, 1.0, 10))
        };
        assert_eq!(bar(UNICODE, Some(0.35)), "███▌·┊··│·");
        assert_eq!(bar(UNICODE, Some(9.0)), "█████┊██│█");
        assert_eq!(bar(UNICODE, None), "·····┊··│·");
        assert_eq!(bar(UNICODE, Some(f64::NAN)), "·····┊··│·");
        assert_eq!(bar(ASCII, Some(0.35)), "===- :  | ");
    }

    #[test]
    fn low_thresholds_are_still_apart_and_shares_end_at_one() {
        assert_eq!(full(Signal::Net, threshold(0.05, 0.1)), 0.25);
        assert_eq!(full(Signal::Cpu, threshold(0.5, 0.9)), 1.0);
        assert_eq!(full(Signal::Parallel, threshold(0.4, 0.8)), 2.0);
        assert!(full(Signal::Mem, threshold(0.0, 0.0)) > 0.0);
    }

    #[test]
    fn the_past_ends_at_the_right_and_what_was_not_measured_is_not_nothing() {
        let second = |value| Second {
            value,
            level: Level::Low,
        };
        let columns = [0.0, 0.01, 0.5, 1.0].map(|value| second(Some(value)));
        assert_eq!(text(&past(UNICODE, &columns, 1.0, 6)), "   ▁▄█");
        assert_eq!(text(&past(ASCII, &columns, 1.0, 4)), " .:#");
        assert_eq!(text(&past(UNICODE, &[second(None)], 1.0, 2)), " ?");
    }
}
