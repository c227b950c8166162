//! What comes of a request: a pin, or the end of one.
//!
//! scx_loader's clients know of no automatic choice. falcond reads what runs when a game starts and asks for it again when the
//! game ends; taken at its word, that would pin what was chosen by chance. So it is remembered for each client what ran
//! before its first request, whoever wanted that, and a request for just that takes back what the client asked for. It is remembered over a
//! restart of the daemon. A client that asks for the scheduler that runs by a rule in another mode, as power-profiles-daemon is
//! patched to do, wants other arguments for it and not that it stays.

use std::collections::VecDeque;

use super::mode::Mode;

/// For how many clients it is remembered.
const MOST: usize = 16;

/// The command line, at which a person means what they type: what is not to be put back is asked for.
const COMMAND_LINE: &str = "scxctl";

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
    /// Whether a rule of the policy decides what runs.
    pub(crate) by_rule: bool,
    /// Whether something is pinned by the client.
    pub(crate) is_theirs: bool,
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
    /// The end of what this client asked for: its pin, and its modes.
    PutBack,
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
            Ask::Stop if self.puts_back(client, &None, now) => return Ok(Outcome::PutBack),
            Ask::Stop if now.by_rule && now.shown.is_none() => return Ok(Outcome::Nothing),
            Ask::Stop => return Ok(Outcome::PinKernel),
            Ask::Run { command, how } => (command, how),
        };
        let How::Mode(mode) = how else {
            self.remember(client, now);
            return Ok(Outcome::Pin { command, how });
        };
        if self.puts_back(client, &Some((command.clone(), mode)), now) {
            return Ok(Outcome::PutBack);
        }
        let runs = now.shown.as_ref().map(|(command, _)| command);
        Ok(if now.by_rule && runs == Some(&command) {
            Outcome::SetMode { command, mode }
        } else {
            Outcome::Pin { command, how }
        })
    }

    /// All of it, to be remembered over a restart.
    pub(crate) fn all(&self) -> impl Iterator<Item = &(String, Shown)> {
        self.0.iter()
    }

    /// Whether `client` asks for what ran before its first request, which is forgotten then.
    fn puts_back(&mut self, client: &str, asked: &Shown, now: &Now) -> bool {
        let Some((_, before)) = self.0.iter().find(|(of, _)| of == client) else {
            self.remember(client, now);
            return false;
        };
        let is_meant = now.is_theirs || now.shown == *asked || client != COMMAND_LINE;
        let puts_back = before == asked && is_meant;
        if puts_back {
            self.forget(client);
        }
        puts_back
    }

    /// Remembers what runs, unless something is remembered already.
    fn remember(&mut self, client: &str, now: &Now) {
        if self.0.iter().any(|(of, _)| of == client) {
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

impl FromIterator<(String, Shown)> for Clients {
    /// The last of them, if they are too many.
    fn from_iter<I: IntoIterator<Item = (String, Shown)>>(all: I) -> Self {
        let mut clients: VecDeque<_> = all.into_iter().collect();
        let too_many = clients.len().saturating_sub(MOST);
        clients.drain(..too_many);
        Self(clients)
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
        shown: Shown,
        /// By whom something is pinned.
        pinned_by: Option<&'static str>,
    }

    impl Machine {
        fn running(shown: Shown) -> Self {
            Self {
                clients: Clients::default(),
                shown,
                pinned_by: None,
            }
        }

        fn asks(&mut self, client: &'static str, ask: Ask) -> Outcome {
            let now = Now {
                shown: self.shown.clone(),
                by_rule: self.pinned_by.is_none(),
                is_theirs: self.pinned_by == Some(client),
            };
            let outcome = self.clients.decide(client, ask, &now, None).unwrap();
            match &outcome {
                Outcome::Pin { command, how } => {
                    self.shown = shown(command, how.mode());
                    self.pinned_by = Some(client);
                }
                Outcome::PinKernel => {
                    self.shown = None;
                    self.pinned_by = Some(client);
                }
                Outcome::PutBack if self.pinned_by == Some(client) => self.is_unpinned(),
                Outcome::Unpin => self.is_unpinned(),
                Outcome::SetMode { command, mode } => self.shown = shown(command, *mode),
                Outcome::PutBack => {
                    let command = self.shown.take().map(|(command, _)| command);
                    self.shown = command.map(|command| (command, Mode::Auto));
                }
                Outcome::Restart | Outcome::Nothing => {}
            }
            outcome
        }

        /// By a rule another one runs then.
        fn is_unpinned(&mut self) {
            self.shown = shown("scx_cosmos", Mode::Auto);
            self.pinned_by = None;
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
            assert_eq!(machine.asks("falcond", back.clone()), Outcome::PutBack);
            // The next game begins with what runs then.
            machine.asks("falcond", run("scx_flash", Mode::Gaming));
            let back = machine.asks("falcond", run("scx_cosmos", Mode::Auto));
            assert_eq!(back, Outcome::PutBack);
        }
    }

    #[test]
    fn what_ran_before_may_have_been_pinned_by_a_person() {
        let mut machine = Machine::running(shown("scx_lavd", Mode::Auto));
        machine.pinned_by = Some("a person");
        let game = machine.asks("falcond", run("scx_flash", Mode::Gaming));
        assert_eq!(game, pin("scx_flash", Mode::Gaming));
        let back = machine.asks("falcond", run("scx_lavd", Mode::Auto));
        assert_eq!(back, Outcome::PutBack);
    }

    #[test]
    fn who_puts_it_back_after_a_person_has_unpinned_pins_nothing() {
        let mut machine = Machine::running(shown("scx_bpfland", Mode::Auto));
        machine.asks("falcond", run("scx_flash", Mode::Gaming));
        machine.is_unpinned();
        let back = machine.asks("falcond", run("scx_bpfland", Mode::Auto));
        assert_eq!(back, Outcome::PutBack);
        assert_eq!(machine.pinned_by, None);
        // A person at the command line means it.
        machine.asks("scxctl", run("scx_flash", Mode::Gaming));
        machine.shown = shown("scx_bpfland", Mode::Auto);
        machine.pinned_by = None;
        let asked = machine.asks("scxctl", run("scx_cosmos", Mode::Auto));
        assert_eq!(asked, pin("scx_cosmos", Mode::Auto));
    }

    #[test]
    fn one_game_after_the_other_ends_at_what_ran_before_the_first() {
        let mut machine = Machine::running(shown("scx_bpfland", Mode::Auto));
        machine.asks("falcond", run("scx_flash", Mode::Gaming));
        machine.asks("falcond", run("scx_lavd", Mode::Gaming));
        // Also after a restart of the daemon, which forgets its pin.
        machine.clients = machine.clients.all().cloned().collect();
        machine.is_unpinned();
        let back = machine.asks("falcond", run("scx_bpfland", Mode::Auto));
        assert_eq!(back, Outcome::PutBack);
    }

    #[test]
    fn the_scheduler_that_runs_by_a_rule_in_another_mode_is_no_pin() {
        let mut machine = Machine::running(shown("scx_bpfland", Mode::Auto));
        for mode in [Mode::PowerSave, Mode::Gaming] {
            let set = machine.asks("power-profiles-daemon", run("scx_bpfland", mode));
            let command = "scx_bpfland".to_owned();
            assert_eq!(set, Outcome::SetMode { command, mode });
        }
        let same = machine.asks("power-profiles-daemon", run("scx_bpfland", Mode::Auto));
        assert_eq!(same, Outcome::PutBack);
        // The game's rule has ended before it is put back.
        machine.asks("falcond", run("scx_bpfland", Mode::Gaming));
        machine.shown = None;
        let back = machine.asks("falcond", run("scx_bpfland", Mode::Auto));
        assert_eq!((back, machine.pinned_by), (Outcome::PutBack, None));
        // Beside what no rule decides it is a pin in that mode.
        machine.asks("falcond", run("scx_lavd", Mode::Gaming));
        let pinned = machine.asks("power-profiles-daemon", run("scx_lavd", Mode::PowerSave));
        assert_eq!(pinned, pin("scx_lavd", Mode::PowerSave));
    }

    #[test]
    fn what_does_not_run_is_not_stopped() {
        let mut machine = Machine::running(None);
        assert_eq!(machine.asks("falcond", Ask::Stop), Outcome::Nothing);
    }

    #[test]
    fn clients_are_told_apart_and_bounded() {
        let mut machine = Machine::running(shown("scx_bpfland", Mode::Auto));
        assert_eq!(machine.asks("scxctl", Ask::Stop), Outcome::PinKernel);
        let other = machine.asks("falcond", run("scx_bpfland", Mode::Auto));
        assert_eq!(other, pin("scx_bpfland", Mode::Auto));
        let now = Now {
            shown: None,
            by_rule: true,
            is_theirs: false,
        };
        for number in 0..100 {
            machine.clients.remember(&number.to_string(), &now);
        }
        assert_eq!(machine.clients.0.len(), MOST);
        let many = (0..100).map(|number| (number.to_string(), None));
        let clients: Clients = many.collect();
        assert_eq!(clients.0.len(), MOST);
        assert_eq!(clients.0.back().unwrap().0, "99");
    }

    #[test]
    fn what_scx_loader_refuses_is_refused_in_its_words() {
        let mut clients = Clients::default();
        let mut decide = |ask, shown: Shown, default| {
            let now = Now {
                shown,
                by_rule: true,
                is_theirs: false,
            };
            clients.decide("scxctl", ask, &now, default)
        };
        let why = "No scheduler is currently running to restart".to_owned();
        assert_eq!(decide(Ask::Restart, None, None), Err(why));
        let restored = decide(Ask::RestoreDefault, None, None);
        assert_eq!(restored, Ok(Outcome::Unpin));
        let default = Some(("scx_lavd".to_owned(), Mode::Gaming));
        let restored = decide(Ask::RestoreDefault, None, default);
        assert_eq!(restored, Ok(pin("scx_lavd", Mode::Gaming)));
        let restarted = decide(Ask::Restart, shown("scx_lavd", Mode::Auto), None);
        assert_eq!(restarted, Ok(Outcome::Restart));
    }
}
