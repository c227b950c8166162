//! What `auto-ext watch` shows, as one document of HTML for browsers on this machine. Pure: from a model to text. Serving it
//! is left to `metrics::server`.
//!
//! It has no scripts and loads nothing. Whatever comes from elsewhere is escaped; the policy that goes with the page in HTTP
//! would let nothing of it run either.

#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::sync::Arc;

use auto_ext_core::SignalNow;
use auto_ext_service::clock::utc;
use auto_ext_service::duration::span;
use auto_ext_service::markup::escape;
use auto_ext_signals::Level;

use crate::api::status::{Current, DaemonStatus, mode_meaning, whose};
use crate::persistence::history::{Entry, Kind};

/// How many entries of the history are shown.
pub(crate) const ENTRIES: usize = 20;
/// How often a browser asks for it anew, in seconds.
pub(crate) const REFRESH: &str = "5";
/// What a browser may do with the page: use its style, which it knows by its SHA-256, and nothing else.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-Fo4Ixe1/X/x1/ljjk7b8lCgdkDMW77TbWzdoZCh4RdU='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("style.css");
/// How long a text from elsewhere may be, in characters.
const MAX_TEXT: usize = 2000;
/// How many quarantined schedulers are named.
const QUARANTINED: usize = 50;

/// All that is shown.
pub(crate) struct Model {
    /// CLOCK_REALTIME in microseconds.
    pub(crate) now: u64,
    pub(crate) current: Current,
    pub(crate) status: DaemonStatus,
    pub(crate) signals: Vec<SignalNow>,
    /// The last entries, the newest first.
    pub(crate) history: Vec<Arc<Entry>>,
}

/// The page.
pub(crate) fn page(model: &Model) -> String {
    let mut page = String::with_capacity(16 << 10);
    write(&mut page, model).expect("a String takes everything");
    page
}

fn write(page: &mut String, model: &Model) -> fmt::Result {
    let scheduler = text(&model.current.current_scheduler);
    writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{scheduler} - auto-ext</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    )?;
    header(page, model)?;
    writeln!(page, "<main>")?;
    status(page, model)?;
    signals(page, &model.signals)?;
    history(page, model)?;
    writeln!(
        page,
        "</main>\n<footer>auto-ext {}, <time>{}</time>; shown anew every {REFRESH} seconds</footer>\n\
         </body>\n</html>",
        text(&model.status.version),
        utc(model.now)
    )
}

/// What runs, whose it is, and for how long it has been running.
fn header(page: &mut String, model: &Model) -> fmt::Result {
    let current = &model.current;
    let class = match current.current_owner.as_str() {
        "auto-ext" => "ours",
        "foreign" => "foreign",
        _ => "none",
    };
    let owner = Some((current.current_owner.as_str(), current.scheduler_pid.into()));
    let since = match model.status.since {
        0 => String::new(),
        since => format!(", for {}", span(model.now.saturating_sub(since))),
    };
    writeln!(
        page,
        "<header>\n<h1 class=\"{class}\">{}</h1>\n<p>{}{since}</p>\n</header>",
        text(&current.current_scheduler),
        text(&whose(&current.state, owner))
    )
}

/// Who decides what, and why; what is in the way.
fn status(page: &mut String, model: &Model) -> fmt::Result {
    let status = &model.status;
    writeln!(page, "<section>\n<h2>What is decided</h2>\n<dl>")?;
    let mode = text(&status.mode);
    let meaning = mode_meaning(&status.mode);
    let mode = format!("<strong>{mode}</strong> <span class=\"faint\">{meaning}</span>");
    fact(page, "Mode", &mode)?;
    if status.desired_scheduler != model.current.current_scheduler {
        fact(page, "Wants", &text(&status.desired_scheduler))?;
    }
    let class = format!("<strong>{}</strong>", text(&status.class));
    fact(page, "Class", &class)?;
    fact(page, "Because", &text(&status.reason))?;
    if !status.quarantined.is_empty() {
        let mut names = String::from("<ul>");
        for (name, until) in status.quarantined.iter().take(QUARANTINED) {
            let left = span(until.saturating_sub(model.now));
            write!(names, "<li>{} for {left}</li>", text(name))?;
        }
        names.push_str("</ul>");
        fact(page, "Quarantined", &names)?;
    }
    if !status.last_error.is_empty() {
        let error = format!("<span class=\"bad\">{}</span>", text(&status.last_error));
        fact(page, "Last error", &error)?;
    }
    writeln!(page, "</dl>\n</section>")
}

/// A line, of what is markup already.
fn fact(page: &mut String, name: &str, markup: &str) -> fmt::Result {
    writeln!(page, "<dt>{name}</dt><dd>{markup}</dd>")
}

/// Each signal with its level, and a bar with marks where that changes.
fn signals(page: &mut String, signals: &[SignalNow]) -> fmt::Result {
    writeln!(
        page,
        "<section>\n<h2>What is measured</h2>\n<table class=\"signals\">"
    )?;
    for now in signals {
        let class = match now.level {
            Level::High => "is-high",
            Level::Low | Level::Unknown => "is-low",
        };
        let value = now.value.filter(|value| value.is_finite());
        let value = value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        write!(
            page,
            "<tr class=\"{class}\"><th scope=\"row\">{}</th><td class=\"level\">{}</td>\
             <td class=\"number\">{value}</td><td>",
            now.signal,
            now.level.name()
        )?;
        bar(page, now)?;
        writeln!(page, "</td></tr>")?;
    }
    writeln!(
        page,
        "</table>\n<p class=\"faint\">high from the solid mark on, low from the dotted one down; as it was in between</p>\n\
         </section>"
    )
}

/// The bar, as a picture: attributes with styles are not allowed.
fn bar(page: &mut String, now: &SignalNow) -> fmt::Result {
    let full = now.signal.full_scale(now.high);
    let at = |value: f64| {
        let percent = 100.0 * value / full;
        if percent.is_finite() {
            percent.clamp(0.0, 100.0)
        } else {
            0.0
        }
    };
    let (low, high) = (at(now.low), at(now.high));
    write!(
        page,
        "<svg viewBox=\"0 0 100 12\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"track\" y=\"2\" width=\"100\" height=\"8\"/>\
         <rect class=\"value\" y=\"2\" width=\"{:.1}\" height=\"8\"/>\
         <path class=\"mark is-lower\" d=\"M{low:.1} 0v12\"/><path class=\"mark\" d=\"M{high:.1} 0v12\"/></svg>",
        now.value.map_or(0.0, at)
    )
}

fn history(page: &mut String, model: &Model) -> fmt::Result {
    writeln!(page, "<section>\n<h2>What happened</h2>")?;
    if model.history.is_empty() {
        return writeln!(page, "<p class=\"faint\">nothing yet</p>\n</section>");
    }
    writeln!(page, "<table class=\"happened\">")?;
    for entry in model.history.iter().take(ENTRIES) {
        let class = match entry.event {
            Kind::Failed | Kind::Exited | Kind::Refused => "bad",
            Kind::Foreign => "foreign",
            Kind::Switched | Kind::Started | Kind::Stopped | Kind::Trial => "usual",
        };
        let (at, age) = (utc(entry.at), span(model.now.saturating_sub(entry.at)));
        writeln!(
            page,
            "<tr><th scope=\"row\"><time datetime=\"{at}\" title=\"{at}\">{age} ago</time></th>\
             <td class=\"{class}\">{}</td></tr>",
            text(&entry.sentence())
        )?;
    }
    writeln!(page, "</table>\n</section>")
}

/// What comes from elsewhere, as content.
fn text(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => escape(&text[..end]) + "…",
        None => escape(text),
    }
}
