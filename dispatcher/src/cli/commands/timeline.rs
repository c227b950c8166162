//! Which scheduler ran when, as lanes of a chart: from the entries of the history. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use auto_ext_service::clock::microseconds;
use auto_ext_service::sanitize::sanitize;

use super::theme::Theme;
use crate::persistence::history::{Entry, Kind};

/// The longest name of a lane that is shown, in characters.
const NAME: usize = 20;
/// The width of a lane's share at its end: ` 100 %`.
const SHARE: usize = 6;
/// The least distance between two marks of the axis, in columns.
const MARKS: usize = 12;
/// How many lanes there are; the schedulers that ran least share the last one.
const LANES: usize = 8;
const OTHERS: &str = "others";
const TROUBLE: &str = "failures";
const TRIALS: &str = "trials";

/// A time in which one scheduler ran.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    /// CLOCK_REALTIME in microseconds, as all times here.
    from: u64,
    to: u64,
    scheduler: String,
    /// The daemon was killed in it, at a time that is not known.
    uncertain: bool,
}

/// The lines of a chart of the time from `now` back, at most `width` columns wide. `history` has
/// the newest entry first.
pub(crate) fn lines(
    history: &[Entry],
    now: u64,
    back: Duration,
    width: usize,
    theme: Theme,
) -> Vec<String> {
    let begin = now.saturating_sub(microseconds(back));
    let stretches: Vec<Stretch> = stretches(history, now)
        .into_iter()
        .filter(|stretch| stretch.to > begin)
        .map(|stretch| Stretch {
            from: stretch.from.max(begin),
            ..stretch
        })
        .collect();
    let lanes = lanes(stretches);
    let names = lanes.iter().map(|lane| lane.name.as_str());
    let name = names.chain([TROUBLE]).map(|name| name.chars().count());
    let name = name.max().unwrap_or_default().min(NAME);
    let cells = width.saturating_sub(name + 1 + SHARE);
    if cells < MARKS {
        return Vec::new();
    }
    let axis = Axis {
        begin,
        length: (now - begin).max(1),
        cells,
    };
    let mut lines = vec![format!("{:name$} {}", "", axis.marks(back))];
    for lane in &lanes {
        let shown: String = lane.name.chars().take(name).collect();
        let share = lane.time() as f64 / axis.length as f64;
        lines.push(format!(
            "{:name$} {}{:4.0} %",
            theme.text(&shown),
            axis.lane(&lane.stretches, theme),
            100.0 * share
        ));
    }
    let failed = |entry: &Entry| matches!(entry.event, Kind::Failed | Kind::Exited);
    let tried = |entry: &Entry| entry.trial || entry.event == Kind::Trial;
    let trouble = axis.letters(history, now, 'x', failed);
    for (what, letters) in [
        (TROUBLE, trouble),
        (TRIALS, axis.letters(history, now, 't', tried)),
    ] {
        if !letters.trim_end().is_empty() {
            lines.push(format!("{what:name$} {}", letters.trim_end()));
        }
    }
    lines
}

/// Which scheduler ran when, the oldest first. What ran before the first entry is not known.
fn stretches(history: &[Entry], now: u64) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut runs: Option<(String, u64)> = None;
    // After the last entry of a daemon nothing is certain.
    let mut last_entry = 0;
    let mut close = |runs: &mut Option<(String, u64)>, to: u64, certain_until: u64| {
        if let Some((scheduler, from)) = runs.take() {
            let middle = certain_until.clamp(from, to.max(from));
            for (from, to, uncertain) in [(from, middle, false), (middle, to, true)] {
                if from < to {
                    let scheduler = scheduler.clone();
                    stretches.push(Stretch {
                        from,
                        to,
                        scheduler,
                        uncertain,
                    });
                }
            }
        }
    };
    for entry in history.iter().rev() {
        let at = entry.at.min(now);
        match entry.event {
            Kind::Started => {
                close(&mut runs, at, last_entry);
                runs = Some((sanitize(&entry.to), at));
            }
            Kind::Stopped => close(&mut runs, at, at),
            Kind::Switched | Kind::Foreign => {
                close(&mut runs, at, at);
                runs = Some((sanitize(&entry.to), at));
            }
            // The entry of one that ended during a switch does not say what ran then.
            Kind::Exited if entry.from != entry.to => {
                close(&mut runs, at, at);
                runs = Some((sanitize(&entry.to), at));
            }
            Kind::Exited | Kind::Failed | Kind::Refused | Kind::Trial => {}
        }
        last_entry = at;
    }
    close(&mut runs, now, now);
    stretches
}

/// All stretches of one scheduler.
struct Lane {
    name: String,
    stretches: Vec<Stretch>,
}

impl Lane {
    fn time(&self) -> u64 {
        let lengths = self
            .stretches
            .iter()
            .map(|stretch| stretch.to - stretch.from);
        lengths.sum()
    }
}

/// A lane for each scheduler, what ran longest first.
fn lanes(stretches: Vec<Stretch>) -> Vec<Lane> {
    let mut by_name: BTreeMap<String, Vec<Stretch>> = BTreeMap::new();
    for stretch in stretches {
        let name = stretch.scheduler.clone();
        by_name.entry(name).or_default().push(stretch);
    }
    let lanes = by_name.into_iter();
    let mut lanes: Vec<Lane> = lanes
        .map(|(name, stretches)| Lane { name, stretches })
        .collect();
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.time()));
    if lanes.len() > LANES {
        let rest = lanes.split_off(LANES - 1);
        lanes.push(Lane {
            name: OTHERS.to_owned(),
            stretches: rest.into_iter().flat_map(|lane| lane.stretches).collect(),
        });
    }
    lanes
}

/// Time as columns.
struct Axis {
    begin: u64,
    length: u64,
    cells: usize,
}

impl Axis {
    /// The time at which a column begins.
    fn time(&self, cell: usize) -> u64 {
        let share = cell as u128 * u128::from(self.length) / self.cells as u128;
        self.begin + u64::try_from(share).unwrap_or(self.length)
    }

    /// How long ago each mark is, at its column.
    fn marks(&self, back: Duration) -> String {
        let most = (self.cells / MARKS).clamp(1, 6);
        let even = |unit: u64| {
            let units = back.as_secs() / unit;
            let divides = |count: &usize| units.is_multiple_of(*count as u64);
            (2..=most).rev().find(divides)
        };
        // Whole hours read best, then whole minutes.
        let count = even(3600).filter(|_| back.as_secs() >= 7200);
        let count = count.or_else(|| even(60)).unwrap_or(1);
        let mut marks = String::new();
        for mark in 0..count {
            let column = mark * self.cells / count;
            let ago = back.mul_f64(1.0 - column as f64 / self.cells as f64);
            let text = format!("-{}", short(ago));
            let gap = column.saturating_sub(marks.len());
            marks.extend(std::iter::repeat_n(' ', gap));
            marks.push_str(&text);
        }
        let now = "now";
        let gap = self.cells.saturating_sub(marks.len() + now.len());
        format!("{marks}{}{now}", " ".repeat(gap))
    }

    /// The share of each column's time that is in `stretches`; a question mark where most of that is uncertain.
    fn lane(&self, stretches: &[Stretch], theme: Theme) -> String {
        let cell = |cell| {
            let (from, to) = (self.time(cell), self.time(cell + 1));
            let within = |uncertain| -> u64 {
                let of = stretches.iter().filter(|it| it.uncertain == uncertain);
                let overlap = |it: &Stretch| it.to.min(to).saturating_sub(it.from.max(from));
                of.map(overlap).sum()
            };
            let (certain, uncertain) = (within(false), within(true));
            if uncertain > certain {
                "?"
            } else {
                let share = (certain + uncertain) as f64 / (to - from).max(1) as f64;
                theme.share(share)
            }
        };
        (0..self.cells).map(cell).collect()
    }

    /// A `letter` in each column in which there is such an entry.
    fn letters(
        &self,
        history: &[Entry],
        now: u64,
        letter: char,
        is_such: impl Fn(&Entry) -> bool,
    ) -> String {
        let such = history.iter().filter(|entry| is_such(entry));
        let at: Vec<u64> = such.map(|entry| entry.at).filter(|at| *at <= now).collect();
        let cell = |cell: usize| {
            let column = self.time(cell)..self.time(cell + 1);
            let last = cell + 1 == self.cells && at.contains(&now);
            if last || at.iter().any(|at| column.contains(at)) {
                letter
            } else {
                ' '
            }
        };
        (0..self.cells).map(cell).collect()
    }
}

/// A time in its largest unit, if it is a whole number of it, else in two.
fn short(time: Duration) -> String {
    let minutes = (time.as_secs() + 30) / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;
    const NOW: u64 = 500_000 * HOUR;
    const SIX_HOURS: Duration = Duration::from_secs(6 * 3600);
    const UNICODE: Theme = Theme {
        colour: false,
        unicode: true,
    };

    fn entry(hours_ago: f64, event: Kind, from: &str, to: &str) -> Entry {
        Entry {
            at: NOW
                - u64::try_from(Duration::from_secs_f64(hours_ago * 3600.0).as_micros()).unwrap(),
            event,
            from: from.into(),
            to: to.into(),
            class: "idle".into(),
            reason: String::new(),
            error: String::new(),
            way: None,
            gap_us: None,
            trial: false,
        }
    }

    fn day() -> Vec<Entry> {
        vec![
            entry(0.5, Kind::Switched, "scx_bpfland", "kernel"),
            entry(1.0, Kind::Switched, "scx_cosmos", "scx_bpfland"),
            entry(1.5, Kind::Failed, "scx_cosmos", "scx_lavd"),
            entry(2.0, Kind::Switched, "kernel", "scx_cosmos"),
            entry(3.0, Kind::Started, "kernel", "kernel"),
            entry(3.5, Kind::Stopped, "scx_cosmos", "kernel"),
            entry(5.0, Kind::Switched, "kernel", "scx_cosmos"),
            entry(9.0, Kind::Started, "kernel", "kernel"),
        ]
    }

    fn chart(history: &[Entry], width: usize, theme: Theme) -> String {
        lines(history, NOW, SIX_HOURS, width, theme).join("\n")
    }

    #[test]
    fn each_scheduler_has_a_lane_with_its_times_and_its_share() {
        assert_eq!(
            chart(&day(), 78, UNICODE),
            "            -6h                 -4h                 -2h              now
kernel      ██████████                    ██████████               █████  42 %
scx_cosmos            ███████████████               ██████████            42 %
scx_bpfland                                                   █████        8 %
failures                                                 x"
        );
    }

    #[test]
    fn trials_are_marked_where_they_switched_and_where_they_ended() {
        let mut history = day();
        history[1].trial = true;
        history.insert(0, entry(0.5, Kind::Trial, "kernel", "scx_flash"));
        let chart = chart(&history, 78, UNICODE);
        let last = chart.lines().last().unwrap();
        assert!(last.starts_with("trials "), "{chart}");
        assert_eq!(last.matches('t').count(), 1 + 2, "{chart}");
    }

    #[test]
    fn when_a_daemon_that_was_killed_ended_is_not_known() {
        let history = [
            entry(1.0, Kind::Started, "kernel", "kernel"),
            entry(3.0, Kind::Switched, "kernel", "scx_cosmos"),
            entry(4.0, Kind::Foreign, "simple", "kernel"),
        ];
        let chart = chart(&history, 45, UNICODE);
        assert!(
            chart.contains("scx_cosmos               ??????????"),
            "{chart}"
        );
    }

    #[test]
    fn a_chart_is_never_wider_than_it_may_be() {
        let long = "x".repeat(200);
        let mut history = day();
        history.extend((0..30).map(|number| {
            let name = format!("{long}{number}");
            entry(f64::from(number) / 5.0, Kind::Switched, "kernel", &name)
        }));
        history.sort_by_key(|entry| std::cmp::Reverse(entry.at));
        for width in 0..150 {
            for line in lines(&history, NOW, SIX_HOURS, width, UNICODE) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        assert!(lines(&history, NOW, SIX_HOURS, 100, UNICODE).len() <= LANES + 2);
    }

    #[test]
    fn an_empty_history_and_a_clock_that_was_set_back_do_no_harm() {
        assert_eq!(lines(&[], NOW, SIX_HOURS, 80, UNICODE).len(), 1);
        for now in [0, 1, NOW - 4 * HOUR] {
            lines(&day(), now, SIX_HOURS, 80, UNICODE);
            lines(&day(), now, Duration::ZERO, 80, UNICODE);
        }
    }
}
