//! What applications want to run for as long as they do: their leases. The newest that can be granted is in force, and
//! one that failed before it ever ran is over.

use auto_ext_policy::Candidate;

/// One application's wish that this runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number, which no other lease or hold has.
    pub cookie: u32,
    /// What is to run.
    pub to: Candidate,
    /// Which application.
    pub application: String,
    /// Why, in its words.
    pub reason: String,
    /// It is for a turn of a comparison, so that its switches have a limit of their own.
    is_turn: bool,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The switch to it has not been made yet.
    New,
    /// It has run.
    Established,
    /// The switch to it failed, and is not tried again.
    Failed,
}

impl Lease {
    /// A lease that begins now.
    #[must_use]
    pub fn new(cookie: u32, to: Candidate, application: String, reason: String) -> Self {
        Self {
            cookie,
            to,
            application,
            reason,
            is_turn: false,
            progress: Progress::New,
        }
    }

    /// The same for a turn of a comparison.
    #[must_use]
    pub fn for_a_turn(self) -> Self {
        Self {
            is_turn: true,
            ..self
        }
    }

    pub(crate) fn is_turn(&self) -> bool {
        self.is_turn
    }

    /// Whether what it names has not run yet, so that the scheduler before it need not have run for the least time.
    pub(crate) fn is_new(&self) -> bool {
        self.progress == Progress::New
    }
}

/// The leases, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leases(Vec<Lease>);

impl Leases {
    pub(crate) fn add(&mut self, lease: Lease) {
        self.0.push(lease);
    }

    /// Ends the lease with this number, if there is one.
    pub(crate) fn remove(&mut self, cookie: u32) -> Option<Lease> {
        let at = self.0.iter().position(|lease| lease.cookie == cookie)?;
        Some(self.0.remove(at))
    }

    /// Those that did not fail, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Lease> {
        let all = self.0.iter().rev();
        all.filter(|lease| lease.progress != Progress::Failed)
    }

    /// Records that `what` runs.
    pub(crate) fn establish(&mut self, what: &Candidate) {
        for lease in self.new_of(what) {
            lease.progress = Progress::Established;
        }
    }

    /// Records that the switch to `what` failed. It is over for those that never saw it run.
    pub(crate) fn failed(&mut self, what: &Candidate) {
        for lease in self.new_of(what) {
            lease.progress = Progress::Failed;
        }
    }

    /// What each of them names.
    pub(crate) fn named_mut(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.0.iter_mut().map(|lease| &mut lease.to)
    }

    fn new_of(&mut self, what: &Candidate) -> impl Iterator<Item = &mut Lease> {
        let new = self.0.iter_mut().filter(|lease| lease.is_new());
        new.filter(|lease| lease.to.is_same_as(what))
    }
}
