//! The lines about what runs, who decides and why.

use auto_ext_core::KernelState;
use auto_ext_policy::KERNEL;
use auto_ext_service::duration::span;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::model::{Facts, Known, Source};
use crate::api::status::{mode_meaning, whose};
use crate::cli::commands::theme::Theme;
use crate::cli::commands::trial_line;

/// The width of the names of lines.
const NAME: usize = 13;

/// The lines in `width` cells. Long texts go on in the next line where there is much room (`generous`).
pub(super) fn lines(
    known: &Known,
    theme: Theme,
    width: usize,
    generous: bool,
) -> Vec<Line<'static>> {
    let mut status = Status {
        theme,
        width,
        generous,
        lines: Vec::new(),
    };
    status.scheduler(known);
    match &known.source {
        Source::Asked => status.text("Daemon", "asked, has not answered yet", theme.faint()),
        Source::Daemon(facts) => status.facts(known, facts),
        Source::Nobody { why, .. } => {
            status.text("Daemon", why, theme.warning());
        }
    }
    status.lines
}

struct Status {
    theme: Theme,
    width: usize,
    generous: bool,
    lines: Vec<Line<'static>>,
}

impl Status {
    fn line(&mut self, name: &str, spans: Vec<Span<'static>>) {
        let name = Span::styled(format!(" {name:<0$}", NAME - 1), self.theme.faint());
        let mut line = vec![name];
        line.extend(spans);
        self.lines.push(Line::from(line));
    }

    /// A text that may go on in the next lines, three at most.
    fn text(&mut self, name: &str, text: &str, style: Style) {
        let text = self.theme.text(text);
        let room = self.width.saturating_sub(NAME).max(1);
        let mut name = name;
        let mut rest = text.as_str();
        let lines = if self.generous { 3 } else { 1 };
        for _ in 1..lines {
            let Some((end, _)) = rest.char_indices().nth(room) else {
                break;
            };
            let end = rest[..end].rfind(' ').map_or(end, |space| space + 1);
            self.line(name, vec![Span::styled(rest[..end].to_owned(), style)]);
            (name, rest) = ("", &rest[end..]);
        }
        self.line(name, vec![Span::styled(rest.to_owned(), style)]);
    }

    fn scheduler(&mut self, known: &Known) {
        let theme = self.theme;
        let scheduler = theme.text(&known.scheduler());
        let facts = known.facts();
        let owner = facts.map(|facts| (facts.owner.as_str(), facts.pid));
        let style = match (&known.kernel, owner) {
            (KernelState::Unknown(_), _) => theme.warning(),
            (KernelState::Enabled { .. }, Some(("auto-ext", _))) => theme.ours(),
            (KernelState::Enabled { .. }, Some(("foreign", _))) => theme.foreign(),
            _ => theme.strong(),
        };
        let whose = whose(&known.kernel, owner);
        let since = facts.filter(|facts| facts.since > 0);
        let since = since.map_or(String::new(), |facts| {
            format!(", for {}", span(known.now.saturating_sub(facts.since)))
        });
        let whose = theme.text(&auto_ext_service::sanitize::sanitize(&whose));
        self.line(
            "Kernel",
            vec![
                Span::styled(scheduler, style),
                Span::raw(format!("  {whose}{since}")),
            ],
        );
    }

    fn facts(&mut self, known: &Known, facts: &Facts) {
        let theme = self.theme;
        let meaning = mode_meaning(&facts.mode);
        let mut mode = vec![
            Span::styled(theme.text(&facts.mode), theme.strong()),
            Span::raw(format!("  {meaning}")),
        ];
        if facts.desired != known.scheduler() {
            let wanted = format!(", wants {}", facts.desired);
            mode.push(Span::raw(theme.text(&wanted)));
        }
        self.line("Mode", mode);
        self.class(known, facts);
        self.text("Because", &facts.reason, Style::new());
        if let Some(trial) = trial_line::sentence(&facts.trial, known.now) {
            self.text("Trial", &trial, Style::new());
        }
        let quarantined: Vec<String> = facts
            .quarantined
            .iter()
            .map(|(name, until)| format!("{name} for {}", span(until.saturating_sub(known.now))))
            .collect();
        if !quarantined.is_empty() {
            self.text("Quarantined", &quarantined.join(", "), theme.warning());
        }
        if !facts.last_error.is_empty() {
            self.text("Last error", &facts.last_error, theme.warning());
        }
    }

    /// The class, for how long, and the rule that gives it.
    fn class(&mut self, known: &Known, facts: &Facts) {
        let theme = self.theme;
        let mut class = vec![Span::styled(theme.text(&facts.class), theme.strong())];
        // The explanation is a moment older, and may be about the class before.
        let why = known.why.as_ref().filter(|why| why.class == facts.class);
        if let Some(why) = why {
            let lasts = span(why.class_for.saturating_mul(1_000_000));
            class.push(Span::raw(format!("  for {lasts}, ")));
            let rule = why.rules.iter().find(|rule| rule.class == facts.class);
            let rule = rule.map_or_else(
                || "no rule matches".to_owned(),
                |rule| {
                    let conditions: Vec<&str> = rule
                        .conditions
                        .iter()
                        .map(|condition| condition.condition.as_str())
                        .collect();
                    let conditions = if conditions.is_empty() {
                        "always".to_owned()
                    } else {
                        conditions.join(" and ")
                    };
                    let candidates = rule.candidates.join(" or ");
                    let candidates = if candidates.is_empty() {
                        KERNEL
                    } else {
                        &candidates
                    };
                    format!("its rule: {conditions}, then {candidates}")
                },
            );
            class.push(Span::raw(theme.text(&rule)));
        }
        self.line("Class", class);
    }
}
