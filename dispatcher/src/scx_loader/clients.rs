//! What comes of a request: a pin, or the end of one.
//!
//! scx_loader's clients know of no automatic choice. falcond reads what runs when a game starts and asks for it again when the
//! game ends; taken at its word, that would pin what was chosen by chance. So it is remembered for each client what ran,
//! unpinned, before its first request, and a request for just that leaves the choice to the policy again. A client that asks
//! for the scheduler that runs in another mode, as power-profiles-daemon is patched to do, wants other arguments for it and
//! not that it stays.

use std::collections::VecDeque;

use super::mode::Mode;

/// For how many clients it is remembered.
const MOST: usize = 16;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// That this program runs.
    Run { command: String, how: How },
    /// That no scheduler runs.
    Stop,
    /// That the one that runs is loaded anew.
    Restart,
    /// That what the configuration names runs.
    RestoreDefault,
}

/// In which way a scheduler is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With the arguments of a mode.
    Mode(Mode),
    /// With these.
    Arguments(Vec<String>),
}

impl How {
    /// The mode that its clients are told: with arguments of their own it is the automatic one.
    pub(crate) fn mode(&self) -> Mode {
        match self {
            Self::Mode(mode) => *mode,
            Self::Arguments(_) => Mode::Auto,
        }
    }
}

/// What runs, as its clients are told: a program and a mode, or nothing that they know.
pub(crate) type Shown = Option<(String, Mode)>;

/// What runs when a request comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) shown: Shown,
    /// Whether a pin is in force.
    pub(crate) pinned: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A pin of this program.
    Pin { command: String, how: How },
    /// A pin of the kernel's own scheduler.
    PinKernel,
    /// The end of all pins.
    Unpin,
    /// The arguments of this mode for this program, wherever a rule asks for it.
    SetMode { command: String, mode: Mode },
    /// What runs is loaded anew.
    Restart,
    /// Nothing: it is as asked.
    Nothing,
}

/// What ran before the first request of each client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(VecDeque<(String, Shown)>);

impl Clients {
    /// What comes of what `client` asks for, when the configuration's default is `default`.
    ///
    /// # Errors
    /// As scx_loader has them, in its words.
    pub(crate) fn decide(
        &mut self,
        client: &str,
        ask: Ask,
        now: &Now,
        default: Option<(String, Mode)>,
    ) -> Result<Outcome, String> {
        let (command, how) = match ask {
            Ask::Restart if now.shown.is_none() => {
                return Err("No scheduler is currently running to restart".to_owned());
            }
            Ask::Restart => return Ok(Outcome::Restart),
            Ask::RestoreDefault => {
                return Ok(match default {
                    Some((command, mode)) => Outcome::Pin {
                        command,
                        how: How::Mode(mode),
                    },
                    None => Outcome::Unpin,
                });
            }
            Ask::Stop if self.puts_back(client, &None, now) => return Ok(end(now)),
            Ask::Stop => return Ok(Outcome::PinKernel),
            Ask::Run { command, how } => (command, how),
        };
        let How::Mode(mode) = how else {
            self.remember(client, now);
            return Ok(Outcome::Pin { command, how });
        };
        if self.puts_back(client, &Some((command.clone(), mode)), now) {
            return Ok(end(now));
        }
        let runs = now.shown.as_ref().map(|(command, _)| command);
        Ok(if !now.pinned && runs == Some(&command) {
            // It never was about another scheduler.
            self.forget(client);
            Outcome::SetMode { command, mode }
        } else {
            Outcome::Pin { command, how }
        })
    }

    /// Whether `client` asks for what ran before its first request, which is forgotten then.
    fn puts_back(&mut self, client: &str, asked: &Shown, now: &Now) -> bool {
        self.remember(client, now);
        let same = self
            .0
            .iter()
            .any(|(of, before)| of == client && before == asked);
        if same {
            self.forget(client);
        }
        same
    }

    /// Remembers what runs if it is unpinned and nothing is remembered yet.
    fn remember(&mut self, client: &str, now: &Now) {
        if now.pinned || self.0.iter().any(|(of, _)| of == client) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((client.to_owned(), now.shown.clone()));
    }

    fn forget(&mut self, client: &str) {
        self.0.retain(|(of, _)| of != client);
    }
}

/// What leaves the choice to the policy.
fn end(now: &Now) -> Outcome {
    if now.pinned {
        Outcome::Unpin
    } else {
        Outcome::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(command: &str, mode: Mode) -> Shown {
        Some((command.to_owned(), mode))
    }

    fn run(command: &str, mode: Mode) -> Ask {
        Ask::Run {
            command: command.into(),
            how: How::Mode(mode),
        }
    }

    fn pin(command: &str, mode: Mode) -> Outcome {
        Outcome::Pin {
            command: command.into(),
            how: How::Mode(mode),
        }
    }

    /// The clients, with what runs.
    struct Machine {
        clients: Clients,
        now: Now,
    }

    impl Machine {
        fn running(shown: Shown) -> Self {
            Self {
                clients: Clients::default(),
                now: Now {
                    shown,
                    pinned: false,
                },
            }
        }

        fn asks(&mut self, client: &str, ask: Ask) -> Outcome {
            let outcome = self.clients.decide(client, ask, &self.now, None).unwrap();
            self.now = match &outcome {
                Outcome::Pin { command, how } => {
                    let mode = how.mode();
                    Now {
                        shown: shown(command, mode),
                        pinned: true,
                    }
                }
                Outcome::PinKernel => Now {
                    shown: None,
                    pinned: true,
                },
                Outcome::Unpin => Now {
                    shown: shown("scx_cosmos", Mode::Auto),
                    pinned: false,
                },
                Outcome::SetMode { command, mode } => Now {
                    shown: shown(command, *mode),
                    pinned: false,
                },
                Outcome::Restart | Outcome::Nothing => return outcome,
            };
            outcome
        }
    }

    #[test]
    fn who_puts_back_what_ran_before_ends_its_pin() {
        for before in [
            shown("scx_bpfland", Mode::Auto),
            shown("scx_lavd", Mode::Server),
            None,
        ] {
            let mut machine = Machine::running(before.clone());
            let game = machine.asks("falcond", run("scx_flash", Mode::Gaming));
            assert_eq!(game, pin("scx_flash", Mode::Gaming));
            let back = match before {
                Some((command, mode)) => run(&command, mode),
                None => Ask::Stop,
            };
            assert_eq!(machine.asks("falcond", back.clone()), Outcome::Unpin);
            // The next game begins with what runs then.
            machine.asks("falcond", run("scx_flash", Mode::Gaming));
            let back = machine.asks("falcond", run("scx_cosmos", Mode::Auto));
            assert_eq!(back, Outcome::Unpin);
        }
    }

    #[test]
    fn who_puts_it_back_after_a_person_has_unpinned_pins_nothing() {
        let mut machine = Machine::running(shown("scx_bpfland", Mode::Auto));
        machine.asks("falcond", run("scx_flash", Mode::Gaming));
        machine.now = Now {
            shown: shown("scx_cosmos", Mode::Auto),
            pinned: false,
        };
        let back = machine.asks("falcond", run("scx_bpfland", Mode::Auto));
        assert_eq!(back, Outcome::Nothing);
    }

    #[test]
    fn one_game_after_the_other_ends_at_what_ran_before_the_first() {
        let mut machine = Machine::running(shown("scx_bpfland", Mode::Auto));
        machine.asks("falcond", run("scx_flash", Mode::Gaming));
        machine.asks("falcond", run("scx_lavd", Mode::Gaming));
        let back = machine.asks("falcond", run("scx_bpfland", Mode::Auto));
        assert_eq!(back, Outcome::Unpin);
    }

    #[test]
    fn the_scheduler_that_runs_in_another_mode_is_no_pin() {
        let mut machine = Machine::running(shown("scx_bpfland", Mode::Auto));
        for mode in [Mode::PowerSave, Mode::Gaming, Mode::Auto] {
            let set = machine.asks("power-profiles-daemon", run("scx_bpfland", mode));
            let command = "scx_bpfland".to_owned();
            assert_eq!(set, Outcome::SetMode { command, mode });
        }
        let same = machine.asks("power-profiles-daemon", run("scx_bpfland", Mode::Auto));
        assert_eq!(same, Outcome::Nothing);
        // Beside a pin of somebody else it is a pin in that mode.
        machine.asks("falcond", run("scx_lavd", Mode::Gaming));
        let pinned = machine.asks("power-profiles-daemon", run("scx_lavd", Mode::PowerSave));
        assert_eq!(pinned, pin("scx_lavd", Mode::PowerSave));
        let back = machine.asks("falcond", run("scx_bpfland", Mode::Auto));
        assert_eq!(back, Outcome::Unpin);
    }

    #[test]
    fn clients_are_told_apart_and_bounded() {
        let mut machine = Machine::running(shown("scx_bpfland", Mode::Auto));
        assert_eq!(machine.asks("scxctl", Ask::Stop), Outcome::PinKernel);
        let other = machine.asks("falcond", run("scx_bpfland", Mode::Auto));
        assert_eq!(other, pin("scx_bpfland", Mode::Auto));
        machine.now.pinned = false;
        for number in 0..100 {
            machine.clients.remember(&number.to_string(), &machine.now);
        }
        assert_eq!(machine.clients.0.len(), MOST);
    }

    #[test]
    fn what_scx_loader_refuses_is_refused_in_its_words() {
        let mut machine = Machine::running(None);
        let error = machine
            .clients
            .decide("scxctl", Ask::Restart, &machine.now, None);
        assert_eq!(
            error,
            Err("No scheduler is currently running to restart".to_owned())
        );
        let restored = machine
            .clients
            .decide("scxctl", Ask::RestoreDefault, &machine.now, None);
        assert_eq!(restored, Ok(Outcome::Unpin));
        let default = Some(("scx_lavd".to_owned(), Mode::Gaming));
        let restored = machine
            .clients
            .decide("scxctl", Ask::RestoreDefault, &machine.now, default);
        assert_eq!(restored, Ok(pin("scx_lavd", Mode::Gaming)));
        machine.now.shown = shown("scx_lavd", Mode::Auto);
        assert_eq!(machine.asks("scxctl", Ask::Restart), Outcome::Restart);
    }
}
