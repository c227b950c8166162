//! What should run, why, and who asks for it.

use std::fmt;

use auto_ext_policy::Candidate;

/// Who asks for what runs. A greater one overrules a lesser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precedence {
    /// A rule of the policy.
    Rule(auto_ext_policy::Precedence),
    /// An application that wants what runs to stay, or something else for as long as it runs itself.
    Hold,
    /// A person.
    Pin,
    /// The machine itself, which whatever else was asked for could hang.
    Danger,
}

impl Precedence {
    /// Overruled by everybody.
    pub(crate) const LOWEST: Self = Self::Rule(auto_ext_policy::Precedence::Measured);
}

/// What should run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What should run.
    pub desired: Candidate,
    /// Who asks for it.
    pub precedence: Precedence,
    /// The reason, for people.
    pub because: String,
    /// The candidates that come before it, and why each cannot run.
    pub rejected: Vec<(Candidate, String)>,
    /// Why it does not run yet; `None` when it does.
    pub waits: Option<String>,
    /// It is a turn of a trial.
    pub trial: bool,
}

impl Choice {
    /// Whether a load alone asks for it.
    pub(crate) fn is_for_a_load(&self) -> bool {
        self.precedence == Precedence::LOWEST && !self.trial
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.because)?;
        for (candidate, why) in &self.rejected {
            write!(f, "; {candidate} {why}")?;
        }
        match &self.waits {
            Some(why) => write!(f, "; {why}"),
            None => Ok(()),
        }
    }
}
