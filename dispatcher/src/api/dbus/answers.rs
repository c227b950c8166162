//! What properties are answered from. `CurrentScheduler` and what belongs to it are read from the kernel with every call,
//! once; the rest is what the daemon published last. All properties of one answer are of one moment.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use auto_ext_scx::process::registry::ProcessRegistry;
use auto_ext_scx::sysfs::SchedExt;
use auto_ext_service::lock::lock;
use zbus::message::Header;

use crate::api::status::{Current, DaemonStatus};

/// Where properties come from.
pub(super) struct Answers {
    sched_ext: SchedExt,
    registry: ProcessRegistry,
    status: Arc<Mutex<DaemonStatus>>,
    /// What the last call was answered from.
    last: Mutex<Option<(Call, Arc<Properties>)>>,
}

/// Which call: who called, and its number there.
type Call = (Option<String>, NonZeroU32);

/// All properties at one moment.
pub(super) struct Properties {
    pub(super) current: Current,
    pub(super) status: DaemonStatus,
}

impl Answers {
    pub(super) fn new(
        sched_ext: &SchedExt,
        registry: &ProcessRegistry,
        status: Arc<Mutex<DaemonStatus>>,
    ) -> Self {
        Self {
            sched_ext: sched_ext.clone(),
            registry: registry.clone(),
            status,
            last: Mutex::default(),
        }
    }

    /// What the kernel runs now.
    pub(super) fn current(&self) -> Current {
        Current::read(&self.sched_ext, &self.registry)
    }

    /// The properties from which `call` is answered. A call for all of them asks for one after the other, and gets the
    /// same each time.
    pub(super) fn to(&self, call: Option<Header<'_>>) -> Arc<Properties> {
        let call = call.map(|header| {
            let sender = header.sender().map(ToString::to_string);
            (sender, header.primary().serial_num())
        });
        let mut last = lock(&self.last);
        if let Some((before, properties)) = &*last
            && call.as_ref() == Some(before)
        {
            return Arc::clone(properties);
        }
        let properties = Arc::new(Properties {
            current: self.current(),
            status: lock(&self.status).clone(),
        });
        *last = call.map(|call| (call, Arc::clone(&properties)));
        properties
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use zbus::Message;

    use super::*;
    use auto_ext_core::State;
    use auto_ext_policy::Policy;

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
        let status = DaemonStatus::of(&policy, &state, Duration::ZERO, 0, 0, 0);
        let shown = Arc::new(Mutex::new(status.clone()));
        let answers = Answers::new(
            &SchedExt::below(sys.path()),
            &ProcessRegistry::default(),
            Arc::clone(&shown),
        );
        let scheduler = |header| answers.to(header).current.current_scheduler.clone();
        let owner = |header| answers.to(header).current.current_owner.clone();
        let reason = |header| answers.to(header).status.reason.clone();
        let (first, second) = (message(), message());
        fn header(message: &Message) -> Option<Header<'_>> {
            Some(message.header())
        }
        assert_eq!(scheduler(header(&first)), "mine");
        // The kernel disables it, and the daemon publishes another status, in the middle of an answer.
        fs::write(directory.join("state"), "disabled\n").unwrap();
        *lock(&shown) = DaemonStatus {
            reason: "another".to_owned(),
            ..status
        };
        assert_eq!(owner(header(&first)), "foreign");
        assert_ne!(reason(header(&first)), "another");
        assert_eq!(scheduler(header(&second)), "kernel");
        assert_eq!(owner(header(&second)), "none");
        assert_eq!(reason(header(&second)), "another");
        // Without a call, as for a signal, it is asked each time.
        assert_eq!(scheduler(None), "kernel");
        fs::write(directory.join("state"), "enabled\n").unwrap();
        assert_eq!(scheduler(None), "mine");
    }
}
