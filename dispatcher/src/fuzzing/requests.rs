//! Calls of the methods on the bus, from their arguments to their outcome: as the daemon handles them,
//! but with a clock of its own and a kernel that at once runs what is asked for.

use std::sync::LazyLock;
use std::time::Duration;

use auto_ext_core::{
    Action, Event, Explanation, KernelState, Lease, Mode, Moment, State, decide, explain,
};
use auto_ext_policy::{Candidate, Pattern, Policy};
use auto_ext_service::duration;
use auto_ext_signals::{Process, Signal, Signals};
use auto_ext_trials::{Comparison, Consent};
use zbus::wire::LE;
use zbus::wire::serialized::{Context, Data};

use crate::api::request::{MayName, Request};
use crate::api::status::DaemonStatus;
use crate::cli;
use crate::daemon::holders::{Holders, MAX_HOLDS};
use crate::daemon::requests::{named, to_lease, to_pin};

/// What ends a call and what ends an argument; in UTF-8 there is neither.
const NEXT_CALL: u8 = 0xff;
const NEXT_ARGUMENT: u8 = 0xfe;
/// How many callers there are.
const CALLERS: u8 = 3;
/// More than all that a reason consists of.
const MAX_REASON: usize = 8192;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    Policy::parse("policies.yaml", include_str!("../../../policies.yaml"))
        .expect("the shipped policy is valid")
});

/// Calls and their arguments, as texts or as they come over the wire, are refused or carried out: a pin
/// is in force at once, a lease if there is no pin, holds and leases are bounded and end with their callers, and what is shown of all that is
/// fit for the bus. When everybody has left, the policy decides again.
///
/// A call is a letter, a caller's number and arguments. With a 0 at the beginning, there is one call,
/// and its arguments are those of a D-Bus message.
pub fn requests(data: &[u8]) {
    let mut service = Service::new();
    if let [0, method, body @ ..] = data {
        if let Some(request) = on_the_wire(*method, body) {
            service.serve(request);
        }
    } else {
        for call in data.split(|byte| *byte == NEXT_CALL) {
            service.call(call);
        }
    }
    service.everybody_leaves();
}

/// The request that is made of a message's body.
fn on_the_wire(method: u8, body: &[u8]) -> Option<Request> {
    let body = Data::new(body, Context::new(LE, 0));
    match method {
        b'p' => {
            let ((name, args, seconds), _) = body.deserialize().ok()?;
            Some(Request::pin(name, args, seconds))
        }
        b'h' => {
            let ((application, reason), _) = body.deserialize().ok()?;
            Some(Request::Hold {
                application,
                reason,
                owner: owner(0),
            })
        }
        b'l' => {
            let ((name, args, application, reason), _) = body.deserialize().ok()?;
            Some(Request::Lease {
                name,
                args,
                application,
                reason,
                owner: owner(0),
                may_name: MayName::Any,
                is_turn: false,
            })
        }
        b'r' => {
            let (cookie, _) = body.deserialize().ok()?;
            Some(Request::Release {
                cookie,
                owner: owner(0),
            })
        }
        _ => None,
    }
}

fn owner(caller: u8) -> String {
    format!(":1.{}", caller % CALLERS)
}

struct Service {
    state: State,
    holders: Holders,
    now: Moment,
}

impl Service {
    fn new() -> Self {
        let mut service = Self {
            state: State::new(&POLICY, false),
            holders: Holders::default(),
            now: Moment::ZERO,
        };
        let installed = POLICY.used_schedulers().map(|used| used.name.clone());
        service.happens(Event::Installed(installed.collect()));
        service.happens(kernel_runs(&Candidate::Kernel));
        service
    }

    fn call(&mut self, call: &[u8]) {
        let [method, caller, arguments @ ..] = call else {
            return;
        };
        let mut arguments = arguments
            .split(|byte| *byte == NEXT_ARGUMENT)
            .map_while(|argument| str::from_utf8(argument).ok());
        let mut next = || arguments.next().unwrap_or_default();
        let owner = owner(*caller);
        let request = match method {
            b'p' => {
                let (name, time) = (next().to_owned(), next());
                // As `auto-ext pin --for` has it.
                let seconds = cli::pin_time(time).map_or(0, |time| time.as_secs());
                let args = arguments.map(str::to_owned).collect();
                Request::pin(name, args, u32::try_from(seconds).unwrap_or(u32::MAX))
            }
            b'u' => Request::Unpin,
            b'h' => Request::Hold {
                application: next().to_owned(),
                reason: next().to_owned(),
                owner,
            },
            b'l' => {
                let (name, application, reason) = (next(), next(), next());
                let (may_name, is_turn) = match next() {
                    "any" => (MayName::Any, false),
                    "turn" => (MayName::Any, true),
                    _ => (MayName::ThoseOfThePolicy, false),
                };
                Request::Lease {
                    name: name.to_owned(),
                    args: arguments.map(str::to_owned).collect(),
                    application: application.to_owned(),
                    reason: reason.to_owned(),
                    owner,
                    may_name,
                    is_turn,
                }
            }
            b'r' => Request::Release {
                cookie: next().parse().unwrap_or_default(),
                owner,
            },
            b'n' => {
                let mut seconds = || next().parse().unwrap_or_default();
                Request::learn(seconds(), seconds())
            }
            b'e' => Request::EndTrial,
            b'd' => Request::forget(next().to_owned()),
            b'k' => match Request::keep(next().to_owned(), next()) {
                Ok(keep) => keep,
                Err(_) => return,
            },
            b'i' => match Request::import(next()) {
                Ok(import) => import,
                Err(_) => return,
            },
            b'f' => Request::ResetFailed {
                name: next().to_owned(),
            },
            b'o' => Request::OwnerLeft { owner },
            b't' => return self.time_passes(next()),
            b'm' => return compare(next(), next()),
            _ => Request::Why,
        };
        self.serve(request);
    }

    /// As the daemon serves it, on a machine where every scheduler is installed.
    fn serve(&mut self, request: Request) {
        let said = format!("{request:?}");
        assert!(!said.contains(char::is_control), "{said}");
        if request.check().is_err() {
            return;
        }
        let find = |command: &str| Ok(command.into());
        match request {
            Request::Pin { name, args, lasts } => {
                let Ok(to) = to_pin(&POLICY, &name, args, find) else {
                    return;
                };
                let wanted = to.clone();
                self.happens(Event::Pinned {
                    to,
                    lasts,
                    by: None,
                });
                assert_eq!(self.state.mode(), &Mode::Pinned);
                assert_eq!(self.state.desired(), &wanted);
                assert!(self.state.switching().is_none());
            }
            Request::Unpin => {
                self.happens(Event::Unpinned);
                assert!(self.state.pin().is_none());
            }
            Request::Hold {
                application,
                reason,
                owner,
            } => {
                let Some(cookie) = self.holders.add(owner) else {
                    return;
                };
                assert!(!self.state.holds().contains_key(&cookie), "{cookie}");
                self.happens(Event::Held {
                    cookie,
                    application,
                    reason,
                });
                assert!(self.state.holds().len() <= MAX_HOLDS);
            }
            lease @ Request::Lease { .. } => self.lease(lease),
            Request::Release { cookie, owner } => {
                if self.holders.remove(cookie, &owner) {
                    self.happens(Event::Released { cookie });
                }
            }
            Request::OwnerLeft { owner } => self.leaves(&owner),
            Request::ResetFailed { name } => {
                if let Ok(Candidate::Scheduler(scheduler)) = named(&POLICY, &name, find) {
                    let command = scheduler.command;
                    self.happens(Event::FailuresReset { command });
                }
            }
            Request::Learn { lasts, lifted } => self.learn(lasts, lifted),
            Request::EndTrial => self.happens(Event::TrialEnded),
            Request::Forget { class } => {
                self.happens(Event::LearnedForgotten { class });
                assert!(self.state.trials().table().rows().is_empty());
            }
            Request::Keep { class, comparison } => self.keep(&class, comparison),
            Request::Import { export } => {
                self.happens(Event::Imported(export));
                let rows = self.state.trials().table().rows();
                assert!(rows.iter().all(|row| row.record.compared().is_some()));
            }
            Request::ScxLoader { .. }
            | Request::Trials
            | Request::Reload
            | Request::History { .. }
            | Request::Why
            | Request::Metrics
            | Request::Page
            | Request::Trace { .. } => {}
        }
        self.show();
    }

    fn keep(&mut self, class: &str, comparison: Box<Comparison>) {
        if let Ok((goal, scheduler)) = comparison.about(&POLICY, class)
            && let Some(key) = self.state.trials().key(class, goal, scheduler, None, None)
        {
            let key = Box::new(key);
            self.happens(Event::Compared { key, comparison });
        }
    }

    fn learn(&mut self, lasts: Duration, lifted: Duration) {
        let consent = Consent {
            until: self.now.saturating_add(lasts),
            lifted_until: self.now.saturating_add(lifted),
        };
        self.happens(Event::Consent((!lasts.is_zero()).then_some(consent)));
        assert!(self.state.trials().trial().is_none(), "nobody is asked");
    }

    fn lease(&mut self, request: Request) {
        let Request::Lease {
            name,
            args,
            application,
            reason,
            owner,
            may_name,
            is_turn,
        } = request
        else {
            return;
        };
        let find = |command: &str| Ok(command.into());
        let Ok(to) = to_lease(&POLICY, &name, args, may_name, find) else {
            return;
        };
        assert!(may_name == MayName::Any || POLICY.names(&to), "{name}");
        let Some(cookie) = self.holders.add(owner) else {
            return;
        };
        let pin = self.state.pin().map(|pin| pin.to.clone());
        let wanted = pin.unwrap_or_else(|| to.clone());
        let lease = Lease::new(cookie, to, application, reason);
        let lease = if is_turn { lease.for_a_turn() } else { lease };
        self.happens(Event::Leased(lease));
        assert_eq!(self.state.desired(), &wanted);
    }

    fn leaves(&mut self, owner: &str) {
        for cookie in self.holders.remove_all(owner) {
            self.happens(Event::Released { cookie });
        }
    }

    fn time_passes(&mut self, time: &str) {
        let time = duration::parse(time).unwrap_or(Duration::from_secs(1));
        self.now = self.now.saturating_add(time.min(Duration::from_hours(24)));
        self.window();
    }

    fn window(&mut self) {
        let mut signals = Signals::default();
        for signal in Signal::ALL {
            signals.set(signal, Some(0.0));
        }
        let dt = Duration::from_secs(1);
        self.happens(Event::Window { dt, signals });
    }

    fn happens(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let (state, actions) = decide(&POLICY, &self.state, event, self.now);
            self.state = state;
            for action in actions {
                if let Action::Switch { to, .. } = action {
                    // The kernel is asked first.
                    let kernel = kernel_runs(&to);
                    events.extend([Event::Switched { to }, kernel]);
                }
            }
        }
    }

    /// What the bus and `why` show.
    fn show(&self) {
        let DaemonStatus { reason, .. } = DaemonStatus::of(&POLICY, &self.state, self.now, 0, 0, 0);
        assert!(!reason.contains(char::is_control), "{reason}");
        assert!(reason.len() <= MAX_REASON, "{reason}");
        let explanation = explain(&POLICY, &self.state, self.now);
        let json = serde_json::to_string(&explanation).expect("texts and numbers");
        let again: Explanation = serde_json::from_str(&json).expect("what was written");
        assert_eq!(again, explanation);
    }

    fn everybody_leaves(&mut self) {
        (0..CALLERS).for_each(|caller| self.leaves(&owner(caller)));
        self.happens(Event::Unpinned);
        assert!(self.state.pin().is_none() && self.state.holds().is_empty());
        assert_eq!(self.state.mode(), &Mode::Auto);
        for _ in 0..4 {
            self.now += POLICY.stability.min_run + POLICY.stability.settle;
            self.window();
        }
        assert_eq!(self.state.class(), "idle");
        assert_eq!(self.state.running(), None, "{}", self.state.reason());
    }
}

fn kernel_runs(candidate: &Candidate) -> Event {
    let state = match candidate {
        Candidate::Kernel => KernelState::Disabled,
        Candidate::Scheduler(scheduler) => KernelState::Enabled {
            ops: scheduler.name.clone(),
        },
    };
    Event::Kernel {
        state,
        ours: *candidate != Candidate::Kernel,
    }
}

/// A pattern of either kind, compared with a process of which everything is called `name`.
fn compare(text: &str, name: &str) {
    let process = Process {
        pid: 1,
        comm: name.to_owned(),
        executable: name.to_owned(),
        argv0: name.to_owned(),
        cgroup: name.to_owned(),
        ancestors: Vec::new(),
    };
    for kind in [Pattern::for_processes, Pattern::for_cgroups] {
        if let Ok(pattern) = kind(text) {
            assert_eq!(pattern.as_str(), text);
            assert!(!pattern.matches(&process) || !name.is_empty(), "{text}");
        }
    }
}
