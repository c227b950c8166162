//! What keys do: which page is shown, and what the daemon is asked. Pure: a key in, a command out.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// For how long a scheduler can be pinned, in seconds; 0: until it is unpinned.
pub(super) const TIMES: [(u32, &str); 5] = [
    (0, "until unpinned"),
    (600, "for 10 minutes"),
    (1800, "for 30 minutes"),
    (3600, "for an hour"),
    (14400, "for 4 hours"),
];

/// How far page keys scroll, in lines.
const PAGE: usize = 10;

/// What is over the main view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Nothing.
    Main,
    /// The keys.
    Help,
    /// The last decision, from this line on.
    Why { scroll: usize },
    /// The schedulers that can be pinned; the one that is chosen, and the place in [`TIMES`].
    Pin { choice: usize, time: usize },
}

/// What a key asks for beyond another page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    /// Draw all of the screen again.
    Redraw,
    /// Back to the shell for a while.
    Suspend,
    Pin {
        name: String,
        seconds: u32,
    },
    Unpin,
}

/// The outcome of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) text: String,
    pub(super) failed: bool,
}

/// The state of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ui {
    pub(super) page: Page,
    /// What is shown stands still.
    pub(super) paused: bool,
    /// The first entry of the history that is shown, from the newest.
    pub(super) scroll: usize,
    /// Shown until the next key.
    pub(super) note: Option<Note>,
}

/// How far keys can move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent<'a> {
    /// What can be pinned.
    pub(super) pinnable: &'a [&'a str],
    /// Entries of the history.
    pub(super) entries: usize,
    /// Lines of the explanation.
    pub(super) why: usize,
}

impl Ui {
    pub(super) fn new() -> Self {
        Self {
            page: Page::Main,
            paused: false,
            scroll: 0,
            note: None,
        }
    }

    /// Handles a key.
    pub(super) fn key(&mut self, key: KeyEvent, extent: Extent<'_>) -> Option<Command> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.note = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Command::Quit),
                KeyCode::Char('l') => Some(Command::Redraw),
                KeyCode::Char('z') => Some(Command::Suspend),
                _ => None,
            };
        }
        match &mut self.page {
            Page::Pin { choice, time } => match key.code {
                KeyCode::Enter => {
                    let pin = extent.pinnable.get(*choice).map(|name| Command::Pin {
                        name: (*name).to_owned(),
                        seconds: TIMES[*time].0,
                    });
                    self.page = Page::Main;
                    return pin;
                }
                KeyCode::Left => *time = time.saturating_sub(1),
                KeyCode::Right => *time = (*time + 1).min(TIMES.len() - 1),
                KeyCode::Esc | KeyCode::Char('q' | 'p') => self.page = Page::Main,
                code => scroll(choice, code, extent.pinnable.len()),
            },
            Page::Why { scroll: line } => match key.code {
                KeyCode::Esc | KeyCode::Char('q' | 'w') => self.page = Page::Main,
                code => scroll(line, code, extent.why),
            },
            Page::Help => self.page = Page::Main,
            Page::Main => return self.key_on_main(key.code, extent.entries),
        }
        None
    }

    fn key_on_main(&mut self, code: KeyCode, entries: usize) -> Option<Command> {
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Command::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.page = Page::Help,
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Char('w') => self.page = Page::Why { scroll: 0 },
            KeyCode::Char('p') => self.page = Page::Pin { choice: 0, time: 0 },
            KeyCode::Char('u') => return Some(Command::Unpin),
            code => scroll(&mut self.scroll, code, entries),
        }
        None
    }
}

/// Moves `place` among `count`.
fn scroll(place: &mut usize, code: KeyCode, count: usize) {
    let last = count.saturating_sub(1);
    let to = match code {
        KeyCode::Up | KeyCode::Char('k') => place.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => place.saturating_add(1),
        KeyCode::PageUp => place.saturating_sub(PAGE),
        KeyCode::PageDown => place.saturating_add(PAGE),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        _ => *place,
    };
    *place = to.min(last);
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent<'_> = Extent {
        pinnable: &["kernel", "cosmos", "bpfland"],
        entries: 15,
        why: 20,
    };

    fn press(ui: &mut Ui, code: KeyCode) -> Option<Command> {
        ui.key(KeyEvent::new(code, KeyModifiers::NONE), EXTENT)
    }

    #[test]
    fn a_scheduler_is_chosen_with_a_time_and_pinned_once() {
        let mut ui = Ui::new();
        press(&mut ui, KeyCode::Char('p'));
        for code in [KeyCode::Down, KeyCode::Right, KeyCode::Right] {
            assert_eq!(press(&mut ui, code), None);
        }
        let pin = Command::Pin {
            name: "cosmos".to_owned(),
            seconds: 1800,
        };
        assert_eq!(press(&mut ui, KeyCode::Enter), Some(pin));
        assert_eq!(ui.page, Page::Main);
        assert_eq!(press(&mut ui, KeyCode::Enter), None);
    }

    #[test]
    fn nothing_scrolls_beyond_its_end() {
        let mut ui = Ui::new();
        for (code, scroll) in [
            (KeyCode::Up, 0),
            (KeyCode::Down, 1),
            (KeyCode::PageDown, 11),
            (KeyCode::PageDown, 14),
            (KeyCode::Char('g'), 0),
            (KeyCode::End, 14),
            (KeyCode::PageUp, 4),
        ] {
            press(&mut ui, code);
            assert_eq!(ui.scroll, scroll, "{code:?}");
        }
        press(&mut ui, KeyCode::Char('p'));
        for _ in 0..9 {
            press(&mut ui, KeyCode::Down);
            press(&mut ui, KeyCode::Right);
        }
        assert_eq!(ui.page, Page::Pin { choice: 2, time: 4 });
        press(&mut ui, KeyCode::Esc);
        press(&mut ui, KeyCode::Char('w'));
        press(&mut ui, KeyCode::End);
        press(&mut ui, KeyCode::PageDown);
        press(&mut ui, KeyCode::Up);
        assert_eq!(ui.page, Page::Why { scroll: 18 });
    }

    #[test]
    fn q_and_escape_leave_a_page_before_they_leave_the_program() {
        for leave in [KeyCode::Char('q'), KeyCode::Esc] {
            for page in ['?', 'w', 'p'] {
                let mut ui = Ui::new();
                press(&mut ui, KeyCode::Char(page));
                assert_ne!(ui.page, Page::Main);
                assert_eq!(press(&mut ui, leave), None);
                assert_eq!(ui.page, Page::Main);
                assert_eq!(press(&mut ui, leave), Some(Command::Quit));
            }
        }
    }

    #[test]
    fn control_c_leaves_from_anywhere_and_pausing_is_undone_by_the_same_key() {
        let mut ui = Ui::new();
        press(&mut ui, KeyCode::Char(' '));
        assert!(ui.paused);
        press(&mut ui, KeyCode::Char(' '));
        assert!(!ui.paused);
        press(&mut ui, KeyCode::Char('p'));
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(ui.key(control_c, EXTENT), Some(Command::Quit));
    }
}
