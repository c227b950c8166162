//! The object on the bus: its properties, methods and signal.
//!
//! `CurrentScheduler` and what belongs to it are read from the kernel with every call, once; the rest is
//! what the daemon thought last. All properties of one answer are of one moment. Methods are passed on to
//! the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::sleep;
use zbus::message::Header;
use zbus::names::BusName;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, fdo, interface};

use super::authorization::Authorization;
use crate::children::Children;
use crate::history::Entry;
use crate::kernel::SchedExt;
use crate::lock::lock;
use crate::report::{Current, Thoughts};
use crate::request::{Answer, Refusal, Request, Requests};

/// How soon a daemon that has too much to do is told again that a caller has left.
const TRY_AGAIN: Duration = Duration::from_millis(100);

pub(super) struct AutoExt {
    sched_ext: SchedExt,
    children: Children,
    thoughts: Arc<Mutex<Thoughts>>,
    /// What the last call for properties was answered from.
    answered: Mutex<Option<(Call, Arc<Properties>)>>,
    authorization: Arc<Authorization>,
    requests: Requests,
    /// The callers with holds, who are waited for to leave.
    holders: Arc<Mutex<BTreeSet<String>>>,
}

/// Which call: who called, and its number there.
type Call = (Option<String>, NonZeroU32);

/// All properties at one moment.
struct Properties {
    current: Current,
    thoughts: Thoughts,
}

impl AutoExt {
    pub(super) fn new(
        sched_ext: &SchedExt,
        children: &Children,
        thoughts: Arc<Mutex<Thoughts>>,
        authorization: Arc<Authorization>,
        requests: Requests,
    ) -> Self {
        Self {
            sched_ext: sched_ext.clone(),
            children: children.clone(),
            thoughts,
            answered: Mutex::default(),
            authorization,
            requests,
            holders: Arc::default(),
        }
    }

    pub(super) fn current(&self) -> Current {
        Current::read(&self.sched_ext, &self.children)
    }

    /// The properties from which this call is answered: a call for all of them asks for one after the other.
    fn properties(&self, call: Option<Header<'_>>) -> Arc<Properties> {
        let call = call.map(|header| {
            let sender = header.sender().map(ToString::to_string);
            (sender, header.primary().serial_num())
        });
        let mut answered = lock(&self.answered);
        if let Some((before, properties)) = &*answered
            && call.as_ref() == Some(before)
        {
            return Arc::clone(properties);
        }
        let properties = Arc::new(Properties {
            current: self.current(),
            thoughts: lock(&self.thoughts).clone(),
        });
        *answered = call.map(|call| (call, Arc::clone(&properties)));
        properties
    }

    async fn ask(&self, request: Request) -> fdo::Result<Answer> {
        Ok(self.requests.ask(request).await?)
    }

    /// Whether the caller may ask for something that changes something. What is not within its bounds is
    /// refused at once: a person may take minutes to answer, in which it would take up memory.
    async fn may_ask(
        &self,
        request: &Request,
        bus: &Connection,
        header: &Header<'_>,
    ) -> fdo::Result<()> {
        request.check()?;
        self.authorization.manage(bus, header).await
    }

    /// Ends the holds of `owner` when it leaves the bus.
    async fn release_when_gone(&self, bus: &Connection, owner: String) -> fdo::Result<()> {
        if !lock(&self.holders).insert(owner.clone()) {
            return Ok(());
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
            // Nobody would end these holds later.
            while let Err(Refusal::TooMuch(_)) = requests
                .ask(Request::OwnerLeft {
                    owner: owner.clone(),
                })
                .await
            {
                sleep(TRY_AGAIN).await;
            }
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
            Answer::Done | Answer::Cookie(_) => Err(fdo::Error::Failed("no answer".to_owned())),
        }
    }
}

impl From<Refusal> for fdo::Error {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Invalid(_) => Self::InvalidArgs(message),
            Refusal::Unavailable(_) => Self::NotSupported(message),
            Refusal::TooMuch(_) => Self::LimitsExceeded(message),
        }
    }
}

/// What comes when `name`, which is on the bus, leaves it.
pub(super) async fn left(bus: &Connection, name: &str) -> fdo::Result<fdo::NameOwnerChangedStream> {
    let proxy = fdo::DBusProxy::new(bus).await?;
    let left = proxy
        .receive_name_owner_changed_with_args(&[(0, name), (2, "")])
        .await?;
    if proxy.name_has_owner(BusName::try_from(name)?).await? {
        Ok(left)
    } else {
        Err(fdo::Error::Failed("the caller has left".to_owned()))
    }
}

/// The caller's name on the bus.
fn caller(header: &Header<'_>) -> fdo::Result<String> {
    header
        .sender()
        .map(ToString::to_string)
        .ok_or_else(|| fdo::Error::AccessDenied("who calls?".to_owned()))
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
        self.properties(header).thoughts.desired_scheduler.clone()
    }

    #[zbus(property)]
    fn mode(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).thoughts.mode.clone()
    }

    #[zbus(property)]
    fn class(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).thoughts.class.clone()
    }

    #[zbus(property)]
    fn levels(&self, #[zbus(header)] header: Option<Header<'_>>) -> BTreeMap<String, String> {
        self.properties(header).thoughts.levels.clone()
    }

    #[zbus(property)]
    fn signals(&self, #[zbus(header)] header: Option<Header<'_>>) -> BTreeMap<String, f64> {
        self.properties(header).thoughts.signals.clone()
    }

    #[zbus(property)]
    fn reason(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).thoughts.reason.clone()
    }

    #[zbus(property)]
    fn since(&self, #[zbus(header)] header: Option<Header<'_>>) -> u64 {
        self.properties(header).thoughts.since
    }

    #[zbus(property)]
    fn switches(&self, #[zbus(header)] header: Option<Header<'_>>) -> u64 {
        self.properties(header).thoughts.switches
    }

    #[zbus(property)]
    fn quarantined(&self, #[zbus(header)] header: Option<Header<'_>>) -> BTreeMap<String, u64> {
        self.properties(header).thoughts.quarantined.clone()
    }

    #[zbus(property)]
    fn last_error(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).thoughts.last_error.clone()
    }

    #[zbus(property)]
    fn version(&self, #[zbus(header)] header: Option<Header<'_>>) -> String {
        self.properties(header).thoughts.version.clone()
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
        self.authorization.manage(bus, &header).await?;
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
            owner: owner.clone(),
        };
        self.may_ask(&hold, bus, &header).await?;
        self.release_when_gone(bus, owner.clone()).await?;
        let answer = self.ask(hold).await?;
        if !lock(&self.holders).contains(&owner) {
            // It left before there was a hold to end.
            self.ask(Request::OwnerLeft { owner }).await?;
        }
        match answer {
            Answer::Cookie(cookie) => Ok(cookie),
            Answer::Done | Answer::Text(_) | Answer::Entries(_) => {
                Err(fdo::Error::Failed("no cookie".to_owned()))
            }
        }
    }

    /// Ends a hold of the caller.
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

    /// Reads the policy again.
    async fn reload(
        &self,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.authorization.manage(bus, &header).await?;
        self.ask(Request::Reload).await.map(drop)
    }

    /// Forgets the failures of the program of the scheduler `name` (as in a rule of the policy), so that
    /// it is not left alone any more.
    async fn forgive(
        &self,
        name: String,
        #[zbus(connection)] bus: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let forgive = Request::Forgive { name };
        self.may_ask(&forgive, bus, &header).await?;
        self.ask(forgive).await.map(drop)
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

    /// The kernel changed from one scheduler to another, for a reason, with a time in between in
    /// which none of both was enabled.
    #[zbus(signal)]
    pub(super) async fn scheduler_switched(
        emitter: &SignalEmitter<'_>,
        from: &str,
        to: &str,
        reason: &str,
        gap_us: u64,
    ) -> zbus::Result<()>;
}

#[cfg(test)]
mod tests {
    use std::fs;

    use zbus::Message;

    use super::*;
    use crate::core::State;
    use crate::policy::Policy;

    fn message() -> Message {
        let message = Message::method_call("/", "GetAll");
        message.build(&()).unwrap()
    }

    #[test]
    fn all_properties_of_one_answer_are_of_one_reading_of_the_kernel() {
        let sys = tempfile::tempdir().unwrap();
        let directory = sys.path().join("kernel/sched_ext");
        fs::create_dir_all(directory.join("root")).unwrap();
        fs::write(directory.join("state"), "enabled\n").unwrap();
        fs::write(directory.join("root/ops"), "mine\n").unwrap();
        let policy = Policy::default();
        let state = State::new(&policy, true);
        let thoughts = Thoughts::of(&policy, &state, Duration::ZERO, 0, 0, 0);
        let shown = Arc::new(Mutex::new(thoughts.clone()));
        let object = AutoExt::new(
            &SchedExt::below(sys.path()),
            &Children::default(),
            Arc::clone(&shown),
            Arc::new(Authorization::new()),
            Requests::channel().0,
        );
        let (first, second) = (message(), message());
        fn header(message: &Message) -> Option<Header<'_>> {
            Some(message.header())
        }
        assert_eq!(object.current_scheduler(header(&first)), "mine");
        // The kernel lets go of it, and the daemon thinks again, in the middle of an answer.
        fs::write(directory.join("state"), "disabled\n").unwrap();
        let reason = "another".to_owned();
        *lock(&shown) = Thoughts { reason, ..thoughts };
        assert_eq!(object.current_owner(header(&first)), "foreign");
        assert_ne!(object.reason(header(&first)), "another");
        assert_eq!(object.current_scheduler(header(&second)), "kernel");
        assert_eq!(object.current_owner(header(&second)), "none");
        assert_eq!(object.reason(header(&second)), "another");
        // Without a call, as for a signal, it is asked each time.
        assert_eq!(object.current_scheduler(None), "kernel");
        fs::write(directory.join("state"), "enabled\n").unwrap();
        assert_eq!(object.current_scheduler(None), "mine");
    }
}
