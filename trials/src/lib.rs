//! Trials: whether another scheduler is better for a load of this machine, found out beside that load by short turns in the order of a coin.
//! Pure: what happens is told, with the time at which it did; what is to be done is said.
//!
//! [`Trials`] is all that is remembered. It says which scheduler's turn it is ([`Trials::arm`]) and which candidates a rule has by what
//! was found ([`Trials::candidates`]); who decides what runs asks for that below everything that overrules a load.
//!
//! Challengers are compared with the kernel's own scheduler alone, whatever runs otherwise: so what was found of one can be set beside
//! what was found of another, and a turn of the incumbent is never one of something unproven.

mod about;
mod budget;
mod compared;
mod comparison;
mod exchange;
mod guard;
mod key;
mod moment;
mod noise;
mod outcome;
mod pair;
mod plan;
mod quiet;
mod record;
mod since_1970;
mod status;
mod table;
mod trial;
mod trials;
mod turn;
mod yardstick;

pub use budget::{Budget, HOURLY_SHARE, KEPT_FOR_OTHERS, SWITCHES_PER_HOUR};
pub use compared::{Compared, JudgedBy};
pub use comparison::{Comparison, NotKept};
pub use exchange::{Export, ExportError, Exported};
pub use guard::Alarm;
pub use key::{Build, Here, Key, MAX_RECORDS, Machine};
pub use moment::Moment;
pub use outcome::{Measured, Reading};
pub use pair::{PairEnd, PairRecord};
pub use plan::{challengers, goals};
pub use quiet::{Unquiet, Waits};
pub use record::{Closed, Drops, Proven, Record};
pub use status::{ClassStatus, TrialStatus};
pub use table::{Row, Table, TableError};
pub use trial::{PAIRS_PER_TRIAL, Trial, TrialEnd};
pub use trials::{Consent, Deed, MAX_CONSENT, Situation, Trials};
pub use yardstick::{METRIC_VERSION, Metric, Yardstick};
