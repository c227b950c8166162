//! The object on the bus: its properties, methods and signal. Methods are passed on to the daemon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auto_ext_bus::authorization::Authorization;
use auto_ext_bus::callers::{caller, left};
use auto_ext_scx::process::registry::ProcessRegistry;
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_service::lock::lock;
use futures_util::StreamExt as _;
use tokio::time::sleep;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Variant, fdo, interface};

use super::actions::Action;
use super::answers::{Answers, Properties};
use super::values::trial_values;
use crate::api::request::{Answer, MayName, Refusal, Request, Requests};
use crate::api::status::{Current, DaemonStatus};
use crate::persistence::history::Entry;

/// How soon a daemon that took no more requests is asked again to end the holds and leases of a caller that has left.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How many callers of one user who is not root may have holds or leases: others are to find room.
const MAX_CALLERS_OF_A_USER: usize = 16;

/// The object `/org/autoext/AutoExt1`.
pub(super) struct AutoExt {
    answers: Answers,
    authorization: Arc<Authorization>,
    requests: Requests,
    /// The callers with holds or leases and their users, for each of which a task waits until it leaves.
    holders: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl AutoExt {
    pub(super) fn new(
        sched_ext: &SchedExt,
        registry: &ProcessRegistry,
        status: Arc<Mutex<DaemonStatus>>,
        authorization: Arc<Authorization>,
        requests: Requests,
    ) -> Self {
        Self {
            answers: Answers::new(sched_ext, registry, status),
            authorization,
            requests,
            holders: Arc::default(),
        }
    }

    /// What the kernel runs now.
    pub(super) fn current(&self) -> Current {
        self.answers.current()
    }

    fn properties(&self, call: Option<Header<'_>>) -> Arc<Properties> {
        self.answers.to(call)
    }

    async fn ask(&self, request: Request) -> fdo::Result<Answer> {
        Ok(self.requests.ask(request).await?)
    }

    /// Whether the caller may have the daemon do what `request` says. One that exceeds its limits is refused at once:
    /// while a person is asked, which may take minutes, it would take up memory.
    async fn may_ask(
        &self,
        request: &Request,
        bus: &Connection,
        header: &Header<'_>,
    ) -> fdo::Result<()> {
        request.check()?;
        let action = match request {
            Request::Pin { args, .. } | Request::Lease { args, .. } if !args.is_empty() => {
                Action::Arguments
            }
            // Turns have more switches, so that they take more.
            Request::Lease {
                may_name: MayName::ThoseOfThePolicy,
                is_turn: false,
                ..
            } => Action::Lease,
            _ => Action::Manage,
        };
        self.authorization.may(action.id(), bus, header).await
    }

    /// The number of what `request` asks for, a hold or a lease, which ends when `owner` leaves the bus.
    async fn cookie(
        &self,
        request: Request,
        bus: &Connection,
        header: &Header<'_>,
    ) -> fdo::Result<u32> {
        let owner = caller(header)?;
        let user = self.authorization.user(bus, header).await?;
        self.release_when_gone(bus, owner.clone(), user).await?;
        let answer = self.ask(request).await?;
        if !lock(&self.holders).contains_key(&owner) {
            // It left before there was anything to end.
            end_all_of(&self.requests, owner).await;
        }
        match answer {
            Answer::Cookie(cookie) => Ok(cookie),
            Answer::Done | Answer::Text(_) | Answer::Entries(_) | Answer::Trace(_) => {
                Err(fdo::Error::Failed("no cookie".to_owned()))
            }
        }
    }

    /// Ends the holds and leases of `owner` when it leaves the bus.
    async fn release_when_gone(
        &self,
        bus: &Connection,
        owner: String,
        user: u32,
    ) -> fdo::Result<()> {
        {
            let mut holders = lock(&self.holders);
            if holders.contains_key(&owner) {
                return Ok(());
            }
            let theirs = holders.values().filter(|of| **of == user).count();
            if user != 0 && theirs >= MAX_CALLERS_OF_A_USER {
                let message =
                    format!("{MAX_CALLERS_OF_A_USER} programs of this user have holds or leases");
                return Err(fdo::Error::LimitsExceeded(message));
            }
            holders.insert(owner.clone(), user);
        }
        let left = left(bus, &owner).await;
        if left.is_err() {
            lock(&self.holders).remove(&owner);
        }
        let mut left = left?;
        let (holders, requests) = (Arc::clone(&self.holders), self.requests.clone());
        tokio::spawn(async move {
            left.next().await;
            lock(&holders).remove(&owner);
            end_all_of(&requests, owner).await;
        });
        Ok(())
    }

    async fn text(&self, request: Request) -> fdo::Result<String> {
        match self.ask(request).await? {
            Answer::Text(text) => Ok(text),
            Answer::Entries(entries) => {
                let entries: Vec<&Entry> = entries.iter().map(Arc::as_ref).collect();
                serde_json::to_string(&entries)
                    .map_err(|error| fdo::Error::Failed(error.to_string()))
            }
            // It may be two megabytes; callers have a thread of their own.
            Answer::Trace(trace) => trace
                .text()
                .map_err(|error| fdo::Error::Failed(error.to_string())),
            Answer::Done | Answer::Cookie(_) => Err(fdo::Error::Failed("no answer".to_owned())),
        }
    }
}

/// Ends the holds and leases of `owner`, as nobody else does.
async fn end_all_of(requests: &Requests, owner: String) {
    let left = || Request::OwnerLeft {
        owner: owner.clone(),
    };
    while let Err(Refusal::TooMuch(_)) = requests.ask(left()).await {
        sleep(TRY_AGAIN).await;
    }
}

impl From<Refusal> for fdo::Error {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Invalid(_) => Self::InvalidArgs(message),
            Refusal::Unavailable(_) => Self::NotSupported(message),
            Refusal::NotPermitted(_) => Self::AccessDenied(message),
            Refusal::TooMuch(_) => Self::LimitsExceeded(message),
        }
    }
}

#[interface(name = "org.autoext.AutoExt1")]
impl AutoExt {
    #[zbus(property)]
    fn current_scheduler(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).current.current_scheduler.clone()
    }

    #[zbus(property)]
    fn current_owner(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).current.current_owner.clone()
    }

    #[zbus(property)]
    fn scheduler_pid(&self, #[zbus(header)] header: Option<Header<'_>>) -> u32 {
        self.properties(header).current.scheduler_pid
    }

    #[zbus(property)]
    fn desired_scheduler(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).status.desired_scheduler.clone()
    }

    #[zbus(property)]
    fn mode(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).status.mode.clone()
    }

    #[zbus(property)]
    fn class(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).status.class.clone()
    }

    #[zbus(property)]
    fn levels(&self, #[zbus(header)] header: Option<Header<'_>>) -> BTreeMap<String, String> {
        self.properties(header).status.levels.clone()
    }

    #[zbus(property)]
    fn signals(&self, #[zbus(header)] header: Option<Header<'_>>) -> BTreeMap<String, f64> {
        self.properties(header).status.signals.clone()
    }

    #[zbus(property)]
    fn reason(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).status.reason.clone()
    }

    #[zbus(property)]
    fn since(&self, #[zbus(header)] header: Option<Header<'_>>) -> u64 {
        self.properties(header).status.since
    }

    #[zbus(property)]
    fn switches(&self, #[zbus(header)] header: Option<Header<'_>>) -> u64 {
        self.properties(header).status.switches
    }

    #[zbus(property)]
    fn quarantined(&self, #[zbus(header)] header: Option<Header<'_>>) -> BTreeMap<String, u64> {
        self.properties(header).status.quarantined.clone()
    }

    #[zbus(property)]
    fn last_error(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).status.last_error.clone()
    }

    #[zbus(property)]
    fn version(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).status.version.clone()
    }

    #[zbus(property)]
    fn trial(
        &self,
        #[zbus(header)] header: Option<Header<'_>>,
    ) -> BTreeMap<&'static str, Variant<'static>> {
        trial_values(self.properties(header).status.trial.as_ref())
    }

    #[zbus(property)]
    fn learning(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).status.learning.clone()
    }

    /// Runs the scheduler `name` (as in a rule of the policy; `kernel` for none), with `args` in
    /// place of the policy's unless there are none, for `seconds` (0: until it is unpinned).
    async fn pin(
        &self,
        name: String,
        args: Vec<String>,
        seconds: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let pin = Request::pin(name, args, seconds);
        self.may_ask(&pin, bus, &header).await?;
        self.ask(pin).await.map(drop)
    }

    /// Leaves the choice to the policy again.
    async fn unpin(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.authorization
            .may(Action::Manage.id(), bus, &header)
            .await?;
        self.ask(Request::Unpin).await.map(drop)
    }

    /// Keeps what runs until it is released or the caller leaves the bus.
    #[zbus(out_args("cookie"))]
    async fn hold(
        &self,
        application: String,
        reason: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<u32> {
        let owner = caller(&header)?;
        let hold = Request::Hold {
            application,
            reason,
            owner,
        };
        self.may_ask(&hold, bus, &header).await?;
        self.cookie(hold, bus, &header).await
    }

    /// Runs the scheduler `name` (as in a rule of the policy; `kernel` for none), with `args` in place of the policy's
    /// unless there are none, until it is released or the caller leaves the bus. The newest lease that can run is in
    /// force; a pin overrules it.
    #[zbus(out_args("cookie"))]
    async fn lease(
        &self,
        name: String,
        args: Vec<String>,
        application: String,
        reason: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<u32> {
        let owner = caller(&header)?;
        let with_arguments = !args.is_empty();
        let lease = |may_name| Request::Lease {
            name: name.clone(),
            args: args.clone(),
            application: application.clone(),
            reason: reason.clone(),
            owner: owner.clone(),
            may_name,
            is_turn: false,
        };
        if !with_arguments {
            let of_the_policy = lease(MayName::ThoseOfThePolicy);
            self.may_ask(&of_the_policy, bus, &header).await?;
            match self.cookie(of_the_policy, bus, &header).await {
                // Then it takes a greater authorization.
                Err(fdo::Error::AccessDenied(_)) => {}
                answered => return answered,
            }
        }
        let any = lease(MayName::Any);
        self.may_ask(&any, bus, &header).await?;
        self.cookie(any, bus, &header).await
    }

    /// As `Lease`, for a turn of a comparison: its switches, and the one back after the last turn, do not count against the
    /// policy's hourly limit but against one of their own. It takes the authorization to change what runs.
    #[zbus(out_args("cookie"))]
    async fn lease_turn(
        &self,
        name: String,
        args: Vec<String>,
        application: String,
        reason: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<u32> {
        let owner = caller(&header)?;
        let turn = Request::Lease {
            name,
            args,
            application,
            reason,
            owner,
            may_name: MayName::Any,
            is_turn: true,
        };
        self.may_ask(&turn, bus, &header).await?;
        self.cookie(turn, bus, &header).await
    }

    /// Ends a hold or a lease of the caller.
    async fn release(
        &self,
        cookie: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.authorization.read(bus, &header).await?;
        let owner = caller(&header)?;
        self.ask(Request::Release { cookie, owner }).await.map(drop)
    }

    /// Consents to trials for `seconds`, 30 days at most (0: not any more), in the first `lifted` of which the shares of the budget
    /// do not count. The policy's `mode: off` overrules it.
    async fn learn(
        &self,
        seconds: u32,
        lifted: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let learn = Request::learn(seconds, lifted);
        self.may_ask(&learn, bus, &header).await?;
        self.ask(learn).await.map(drop)
    }

    /// Ends the trial that is on: what ran before is back.
    async fn end_trial(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.authorization
            .may(Action::Manage.id(), bus, &header)
            .await?;
        self.ask(Request::EndTrial).await.map(drop)
    }

    /// Forgets what trials found for `class`; for all, if it is empty.
    async fn forget(
        &self,
        class: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let forget = Request::forget(class);
        self.may_ask(&forget, bus, &header).await?;
        self.ask(forget).await.map(drop)
    }

    /// All that is known of trials, as an object in JSON.
    #[zbus(out_args("json"))]
    async fn trials(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.authorization.read(bus, &header).await?;
        self.text(Request::Trials).await
    }

    /// Reads the policy again.
    async fn reload(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.authorization
            .may(Action::Manage.id(), bus, &header)
            .await?;
        self.ask(Request::Reload).await.map(drop)
    }

    /// Forgets the failures of the program of the scheduler `name` (as in a rule of the policy), so that
    /// it is not quarantined any more.
    async fn reset_failed(
        &self,
        name: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let reset_failed = Request::ResetFailed { name };
        self.may_ask(&reset_failed, bus, &header).await?;
        self.ask(reset_failed).await.map(drop)
    }

    /// The earlier name of `ResetFailed`, for clients that know only that.
    async fn forgive(
        &self,
        name: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.reset_failed(name, bus, header).await
    }

    /// The last `n` entries of the history, the newest first, as a list in JSON.
    #[zbus(out_args("json"))]
    async fn history(
        &self,
        n: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.authorization.read(bus, &header).await?;
        self.text(Request::History { count: n }).await
    }

    /// The last decision, the numbers behind it and what would change it, as an object in JSON.
    #[zbus(out_args("json"))]
    async fn why(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.authorization.read(bus, &header).await?;
        self.text(Request::Why).await
    }

    /// What is counted and measured, as OpenMetrics text.
    #[zbus(out_args("text"))]
    async fn metrics(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.authorization.read(bus, &header).await?;
        self.text(Request::Metrics).await
    }

    /// What was measured in the last `seconds`, ten minutes at most, as a trace for `auto-ext replay`, in which nothing of
    /// processes is.
    #[zbus(out_args("trace"))]
    async fn trace(
        &self,
        seconds: u32,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        self.authorization.read(bus, &header).await?;
        let last = Duration::from_secs(seconds.into());
        self.text(Request::Trace { last }).await
    }

    /// The kernel changed from one scheduler to another, for a reason. `gap_us` is the time between, in microseconds,
    /// in which none was enabled.
    #[zbus(signal)]
    pub(super) async fn scheduler_switched(
        emitter: &SignalEmitter<'_>,
        from: &str,
        to: &str,
        reason: &str,
        gap_us: u64,
    ) -> zbus::Result<()>;

    /// A trial for the load's `class` has ended, of `candidate` (empty: the incumbent alone was measured), with this outcome.
    #[zbus(signal)]
    pub(super) async fn trial_ended(
        emitter: &SignalEmitter<'_>,
        class: &str,
        candidate: &str,
        outcome: &str,
    ) -> zbus::Result<()>;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use auto_ext_core::State;
    use auto_ext_policy::Policy;
    use zbus::object_server::Interface as _;

    use super::*;

    #[test]
    fn the_earlier_name_of_a_method_stays_beside_the_new_one() {
        let policy = Policy::default();
        let state = State::new(&policy, true);
        let status = DaemonStatus::of(&policy, &state, Duration::ZERO, 0, 0, 0);
        let object = AutoExt::new(
            &SchedExt::below("/nonexistent".as_ref()),
            &ProcessRegistry::default(),
            Arc::new(Mutex::new(status)),
            Arc::new(Authorization::new()),
            Requests::channel().0,
        );
        let mut xml = String::new();
        object.introspect_to_writer(&mut xml, 0);
        for method in ["ResetFailed", "Forgive"] {
            assert!(
                xml.contains(&format!("<method name=\"{method}\">")),
                "{xml}"
            );
        }
    }
}
