//! Learns about moves beside everything else: in a thread of its own that gives way to all others. What is learned, and whether it
//! is any better, is decided in foresight-model.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use foresight_model::file::Moves;
use foresight_model::quantise::Quantised;
use foresight_model::samples::MoveSample;
use foresight_model::train::{Teacher, beside_always_moving, train_moves};
use foresight_model::value::Worth;

/// The lowest priority that there is.
const NICE: i32 = 19;

/// What is to be learned from.
pub(crate) struct Job {
    /// In any order.
    pub(crate) moves: Vec<MoveSample>,
    /// The network that there is.
    pub(crate) network: Option<Quantised>,
    /// Whether it counts: what is learned is to do better than it, and else than always moving.
    pub(crate) counts: bool,
    /// When the last of the moves was that it has learned from.
    pub(crate) since_ns: u64,
    pub(crate) seed: u64,
}

/// What came of it.
pub(crate) struct Outcome {
    /// The network that does better, if one does.
    pub(crate) won: Option<Moves>,
    /// When the last of the moves was that it may have learned from.
    pub(crate) until_ns: u64,
    /// What the one that there was is worth beside always moving, and the other way round, by what came after it.
    pub(crate) beside: [Option<Worth>; 2],
}

/// The thread, which ends soon after this is dropped.
pub(crate) struct Trainer {
    jobs: SyncSender<Job>,
    outcomes: Receiver<Outcome>,
    is_busy: bool,
}

impl Trainer {
    /// Starts it.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, work) = sync_channel::<Job>(1);
        let (done, outcomes) = sync_channel(1);
        let run = move || {
            // On Linux it is the thread's own; where it may not be had, the work is the same.
            let _ = rustix::process::setpriority_process(None, NICE);
            for job in work {
                if done.send(learn(job)).is_err() {
                    return;
                }
            }
        };
        let builder = thread::Builder::new().name("train".to_owned());
        builder.spawn(run)?;
        Ok(Self {
            jobs,
            outcomes,
            is_busy: false,
        })
    }

    /// Whether what it was given is not done yet, or has not been asked for.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Gives it something to learn, unless it is busy.
    pub(crate) fn give(&mut self, job: Job) {
        self.is_busy |= self.jobs.try_send(job).is_ok();
    }

    /// What it has learned since the last call.
    pub(crate) fn outcome(&mut self) -> Option<Outcome> {
        let outcome = self.outcomes.try_recv();
        // Of a thread that is gone nothing comes any more, and it gets nothing.
        self.is_busy &= matches!(outcome, Err(TryRecvError::Empty));
        outcome.ok()
    }
}

fn learn(mut job: Job) -> Outcome {
    job.moves.sort_by_key(|known| known.at_ns);
    let beside = job.network.as_ref().map_or([None, None], |network| {
        let begin = job
            .moves
            .partition_point(|known| known.at_ns <= job.since_ns);
        beside_always_moving(network, &job.moves[begin..], job.seed)
    });
    let incumbent = job.network.as_ref().filter(|_| job.counts);
    let learned = train_moves(&job.moves, Teacher::Outcomes, incumbent, job.seed);
    Outcome {
        won: learned
            .filter(|learned| learned.report.lost().is_none())
            .and_then(|learned| learned.moves),
        until_ns: job.moves.last().map_or(0, |last| last.at_ns),
        beside,
    }
}

#[cfg(test)]
mod tests {
    use foresight_model::simulation::record_moves;

    use super::*;

    fn outcome(trainer: &mut Trainer) -> Outcome {
        loop {
            if let Some(outcome) = trainer.outcome() {
                return outcome;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn what_matters_is_learned_and_judged_by_what_comes_later() {
        let mut trainer = Trainer::start().unwrap();
        let mut moves = record_moves(10_000, true, 1);
        let later = moves.split_off(6000);
        let job = |moves, network, since_ns| Job {
            moves,
            network,
            counts: false,
            since_ns,
            seed: 1,
        };
        trainer.give(job(moves.clone(), None, 0));
        assert!(trainer.is_busy());
        let first = outcome(&mut trainer);
        assert!(!trainer.is_busy());
        assert_eq!((first.until_ns, first.beside), (5999, [None, None]));
        let network = first.won.unwrap().quantised().unwrap();
        moves.extend(later);
        trainer.give(job(moves, Some(network), first.until_ns));
        let [gain, _] = outcome(&mut trainer).beside;
        assert!(gain.unwrap().is_proven());
    }

    #[test]
    fn where_nothing_matters_nothing_wins() {
        let mut trainer = Trainer::start().unwrap();
        trainer.give(Job {
            moves: record_moves(3000, false, 1),
            network: None,
            counts: false,
            since_ns: 0,
            seed: 1,
        });
        assert!(outcome(&mut trainer).won.is_none());
    }
}
