//! The pairs as dots over an axis, from worse on the left to better on the right. Pure.

use auto_ext_evidence::LogRatio;

use super::percent::percent;

/// How many columns there are on each side of 0.
const HALF: u32 = 25;
/// How many dots may stand upon each other; `+` says that there are more.
const MOST: usize = 8;
/// To what the axis may go, as shares; the least that has all dots is taken.
const ENDS: [f64; 8] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0];

/// What rounding may add to a logarithm.
const ROUNDING: f64 = 1e-9;

/// The lines of the plot; none without pairs.
pub(super) fn plot(ratios: &[LogRatio], unicode: bool) -> Vec<String> {
    if ratios.is_empty() {
        return Vec::new();
    }
    let farthest = ratios
        .iter()
        .fold(0.0, |most: f64, ratio| most.max(ratio.get().abs()));
    let last = ENDS[ENDS.len() - 1];
    let end = ENDS
        .into_iter()
        .find(|end| end.ln_1p() + ROUNDING >= farthest);
    let end = end.unwrap_or(last).ln_1p();
    let mut heights = vec![0; 2 * HALF as usize + 1];
    for ratio in ratios {
        heights[column(ratio.get() / end)] += 1;
    }
    let (dot, line, middle) = if unicode {
        ('•', '─', '┼')
    } else {
        ('o', '-', '|')
    };
    let highest = heights.iter().copied().max().unwrap_or_default().min(MOST);
    let mut lines: Vec<String> = (1..=highest)
        .rev()
        .map(|row| {
            let at = |height: &usize| match *height {
                height if height > MOST && row == MOST => '+',
                height if height >= row => dot,
                _ => ' ',
            };
            heights
                .iter()
                .map(at)
                .collect::<String>()
                .trim_end()
                .to_owned()
        })
        .collect();
    let half = line.to_string().repeat(HALF as usize);
    lines.push(format!("{half}{middle}{half}"));
    let (worst, best) = (
        format!("{} %", percent(-end)),
        format!("+{} %", percent(end)),
    );
    let width = HALF as usize;
    lines.push(format!("{worst:<width$}0{best:>width$}"));
    lines
}

/// The column of a share of the half, from -1 to 1; beyond these the last one.
fn column(share: f64) -> usize {
    let half = f64::from(HALF);
    let column = (share.clamp(-1.0, 1.0) * half).round() + half;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 50"
    )]
    let column = column as usize;
    column
}

#[cfg(test)]
mod tests {
    use auto_ext_evidence::Better;

    use super::*;

    fn ratios(of: &[f64]) -> Vec<LogRatio> {
        let one = |times: &f64| LogRatio::of(*times, 1.0, Better::Higher).unwrap();
        of.iter().map(one).collect()
    }

    #[test]
    fn each_pair_is_a_dot_where_it_belongs() {
        let lines = plot(&ratios(&[1.0, 1.0, 1.1, 0.95]), true);
        let expected = [
            "                         •",
            "            •            •                        •",
            "─────────────────────────┼─────────────────────────",
            "-9.1 %                   0                  +10.0 %",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_beyond_the_ends_stands_there_and_high_stacks_are_cut_off() {
        let lines = plot(&ratios(&[100.0; 9]), false);
        assert_eq!(lines.len(), MOST + 2);
        assert_eq!(lines[0], format!("{:50}+", ""));
        assert_eq!(lines[1], format!("{:50}o", ""));
        assert!(lines[MOST].is_ascii() && lines[MOST + 1].contains("+300.0 %"));
        assert!(plot(&[], true).is_empty());
    }
}
