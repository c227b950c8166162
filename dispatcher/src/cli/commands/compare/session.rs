//! The comparison on its way: turn after turn, until there is a reason to end it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use auto_ext_evidence::{Arm, LogRatio, Pair, Settling};
use auto_ext_policy::KERNEL;
use auto_ext_service::duration::span;
use auto_ext_service::exit_code::WithCode;
use auto_ext_service::sanitize::sanitize;

use super::comparison::{Comparison, Primary, Turns};
use super::contender::Contender;
use super::csv::{Csv, Row};
use super::end::End;
use super::instance::Instance;
use super::keep::{self, Classes};
use super::live::{self, Times};
use super::meter::{Meter, Missing};
use super::options::Options;
use super::percent::signed;
use super::runner::Runner;
use super::turn::{self, Ended, Turn};
use crate::cli::commands::child::Signals;
use crate::cli::commands::grant::warn;
use crate::cli::commands::new_file;
use crate::sources::load;

/// After so many pairs that do not count something is wrong.
const MOST_DROPPED: usize = 5;

/// All of it.
pub(super) struct Session<'o> {
    options: &'o Options,
    pub(super) comparison: Comparison,
    pub(super) begun: Instant,
    pub(super) seed: u64,
    incumbent: Contender,
    challengers: Vec<Contender>,
    runner: Runner,
    meter: Meter,
    settling: Settling,
    signals: Signals,
    csv: Option<Csv>,
    classes: Classes,
}

impl<'o> Session<'o> {
    /// Nothing is run yet.
    pub(super) async fn begin(options: &'o Options) -> anyhow::Result<Self> {
        let signals = Signals::new()?;
        let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
        let primary = options.primary()?;
        let incumbent = Contender::named(options.incumbent());
        let challengers: Vec<Contender> = options
            .challengers
            .iter()
            .map(|name| Contender::named(name))
            .collect();
        let names: Vec<String> = challengers.iter().map(Contender::to_string).collect();
        let mut runner = Runner::begin(application(&options.command)).await?;
        let (meter, missing) = Meter::new();
        tell(&missing, &primary)?;
        let comparison = Comparison::new(
            incumbent.to_string(),
            &names,
            primary,
            options.pairs(),
            seed,
        );
        if let Some(class) = &options.keep {
            keep::check(&mut runner, class, &comparison).await?;
        }
        Ok(Self {
            options,
            comparison,
            begun: Instant::now(),
            seed,
            incumbent,
            challengers,
            runner,
            meter,
            settling: Settling::default(),
            signals,
            csv: options.csv.as_deref().map(create).transpose()?,
            classes: Classes::default(),
        })
    }

    /// Compares until there is a reason to end.
    pub(super) async fn compare(&mut self) -> End {
        match self.turns().await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn turns(&mut self) -> Result<End, End> {
        self.first_of_all(self.comparison.switches()).await?;
        self.warm_up().await?;
        let begun = Instant::now();
        let mut pairs = 0;
        while let Some(pair) = self.comparison.next() {
            if pairs > 0 && !self.has_time_for(begun.elapsed() / pairs) {
                return Ok(End::Time);
            }
            let said = self.pair(pair).await?;
            pairs += 1;
            let left = self.left(begun.elapsed() / pairs);
            let challenger = &self.comparison.challengers[pair.challenger];
            let (name, number) = (&challenger.name, challenger.pairs.len());
            match said {
                Some(ratio) => {
                    let size = signed(ratio.get());
                    progress(&format!(
                        "{name}, pair {number}: {size}; {left} left at most"
                    ));
                }
                None if self.comparison.dropped() >= MOST_DROPPED => {
                    let why = anyhow!("{MOST_DROPPED} pairs did not count; something is wrong");
                    return Ok(End::Failed(why));
                }
                None => {}
            }
        }
        Ok(if self.comparison.is_decided() {
            End::Decided
        } else {
            End::Runs
        })
    }

    /// Has the incumbent run, and says what there is to say of so many switches.
    async fn first_of_all(&mut self, switches: usize) -> Result<(), End> {
        let incumbent = self.incumbent.clone();
        self.bring(&incumbent).await?;
        if let Some(say) = self.runner.switches(switches).await? {
            progress(&say);
        }
        Ok(())
    }

    /// Has the command run once before so many turns of sets of arguments, and the pairs that follow.
    pub(super) async fn begin_tuning(&mut self, turns: usize) -> Result<(), End> {
        let one = Comparison::new(
            self.comparison.incumbent.clone(),
            &[String::new()],
            self.comparison.primary.clone(),
            self.options.pairs(),
            self.seed,
        );
        self.first_of_all(turns + one.switches()).await?;
        self.warm_up().await
    }

    /// Has this be what is compared, of which nothing is known yet.
    pub(super) fn compare_with(&mut self, challenger: Contender) {
        self.comparison = Comparison::new(
            self.comparison.incumbent.clone(),
            &[challenger.to_string()],
            self.comparison.primary.clone(),
            self.options.pairs(),
            self.seed,
        );
        self.challengers = vec![challenger];
    }

    /// Has every scheduler run once, so that one that cannot is known at once, and the command, which then has in memory
    /// what it reads.
    async fn warm_up(&mut self) -> Result<(), End> {
        let mut last = self.runner.instance().await?.process();
        for challenger in self.challengers.clone() {
            last = self.bring(&challenger).await?.process();
        }
        if self.options.live.is_some() {
            return Ok(());
        }
        progress("a first run, which does not count");
        match self.measure(last).await? {
            Ended::Done(_) => Ok(()),
            Ended::Failed(why) => {
                let last = self.challengers.last().unwrap_or(&self.incumbent);
                Err(anyhow!("nothing is compared, as under {last} already: {why}").into())
            }
            Ended::Interrupted(signal) => Err(End::Signal(signal)),
        }
    }

    /// Makes a pair. `None` says that it does not count.
    async fn pair(&mut self, pair: Pair) -> Result<Option<LogRatio>, End> {
        let mut turns = Vec::new();
        for arm in pair.turns() {
            let contender = self.contender(arm).clone();
            let turn = self.turn(&contender).await?;
            let dropped = turn.as_ref().err().cloned();
            turns.push((contender.to_string(), turn.ok()));
            if let Some(why) = dropped {
                self.do_not_count(pair, arm, &turns, &why);
                return Ok(None);
            }
        }
        let of = |at: usize| turns.get(at).and_then(|(_, turn)| *turn);
        let (Some(first), Some(second)) = (of(0), of(1)) else {
            return Ok(None);
        };
        let both = if pair.challenger_first {
            Turns {
                incumbent: second,
                challenger: first,
            }
        } else {
            Turns {
                incumbent: first,
                challenger: second,
            }
        };
        match self.comparison.add(pair.challenger, both) {
            Ok(ratio) => {
                self.write(pair, &turns, None);
                self.settle(&both);
                Ok(Some(ratio))
            }
            Err(why) => {
                self.do_not_count(pair, pair.turns()[1], &turns, &why.to_string());
                Ok(None)
            }
        }
    }

    /// Has schedulers settle for longer if the one before still shows in such turns.
    fn settle(&mut self, turns: &Turns) {
        let Some(halves) = self.comparison.primary.of_halves(turns) else {
            return;
        };
        if self.settling.add(halves) {
            progress(&format!(
                "the scheduler before still shows in the first half of turns: from now on each settles for {} s",
                self.settling.time().as_secs()
            ));
        }
    }

    /// A turn, or why it does not count.
    pub(super) async fn turn(
        &mut self,
        contender: &Contender,
    ) -> Result<Result<Turn, String>, End> {
        let before = self.bring(contender).await?;
        let turn = match self.measure(before.process()).await? {
            Ended::Done(turn) => Ok(*turn),
            Ended::Failed(why) => Err(why),
            Ended::Interrupted(signal) => return Err(End::Signal(signal)),
        };
        if let Ok(Some(class)) = self.runner.class().await {
            self.classes.add(class);
        }
        if self.runner.instance().await.ok().as_ref() != Some(&before) {
            self.runner.forget();
            return Ok(Err(
                "the kernel did not run the same scheduler all the time".to_owned(),
            ));
        }
        Ok(turn)
    }

    /// Runs the command under the scheduler of this process, or measures what runs anyway.
    async fn measure(&mut self, scheduler: Option<u32>) -> Result<Ended, End> {
        if self.options.live.is_some() {
            let times = Times {
                settle: self.settling.time(),
                arm: self.options.arm(),
            };
            let (meter, primary) = (&self.meter, &self.comparison.primary);
            return Ok(live::run(meter, scheduler, times, primary, &mut self.signals).await);
        }
        let expression = self.options.measure.as_ref();
        let measuring = self.meter.begin(scheduler);
        let command = &self.options.command;
        Ok(turn::run(command, expression, measuring, &mut self.signals).await?)
    }

    async fn bring(&mut self, contender: &Contender) -> Result<Instance, End> {
        self.runner.bring(contender, &mut self.signals).await
    }

    /// Has run again what ran before.
    pub(super) async fn go_back(&mut self) -> anyhow::Result<()> {
        self.runner.end().await
    }

    /// Has what was found kept, if that is wanted.
    pub(super) async fn keep(&mut self) -> anyhow::Result<()> {
        let Some(class) = &self.options.keep else {
            return Ok(());
        };
        let took = self.begun.elapsed();
        let (runner, classes) = (&mut self.runner, &self.classes);
        for said in keep::keep(runner, class, classes, &self.comparison, took).await? {
            progress(&said);
        }
        Ok(())
    }

    /// For which class `--keep` would have kept what was found.
    pub(super) async fn could_keep_for(&self) -> Option<String> {
        let Options { keep, tune, .. } = self.options;
        if keep.is_some() || tune.is_some() || self.comparison.incumbent != KERNEL {
            return None;
        }
        let class = self.classes.usual()?.to_owned();
        self.runner
            .classes()
            .await
            .contains(&class)
            .then_some(class)
    }

    fn contender(&self, arm: Arm) -> &Contender {
        match arm {
            Arm::Incumbent => &self.incumbent,
            Arm::Challenger(number) => &self.challengers[number],
        }
    }

    fn do_not_count(&mut self, pair: Pair, arm: Arm, turns: &[(String, Option<Turn>)], why: &str) {
        let name = self.comparison.scheduler(arm);
        warn(&format!("a pair does not count: under {name}: {why}"));
        self.comparison.drop_pair(pair.challenger, arm);
        self.write(pair, turns, Some(why));
    }

    fn write(&mut self, pair: Pair, turns: &[(String, Option<Turn>)], dropped: Option<&str>) {
        let challenger = self.comparison.challengers[pair.challenger].name.clone();
        let rows: Vec<Row<'_>> = turns
            .iter()
            .map(|(scheduler, turn)| Row {
                scheduler,
                turn: *turn,
            })
            .collect();
        self.write_rows(&challenger, &rows, dropped);
    }

    /// Writes turns that belong together to the file, if there is to be one.
    pub(super) fn write_rows(&mut self, challenger: &str, rows: &[Row<'_>], dropped: Option<&str>) {
        let Some(csv) = &mut self.csv else { return };
        if let Err(error) = csv.pair(challenger, rows, dropped) {
            warn(&format!("the turns are not written any more: {error}"));
            self.csv = None;
        }
    }

    /// Whether a pair that takes so long would end in time.
    pub(super) fn has_time_for(&self, pair: Duration) -> bool {
        let lasts = self.options.lasts();
        lasts.is_none_or(|lasts| self.begun.elapsed() + pair <= lasts)
    }

    /// What is left at most, if a pair takes so long.
    fn left(&self, pair: Duration) -> String {
        let pairs = u32::try_from(self.comparison.pairs_left()).unwrap_or(u32::MAX);
        let left = pair.saturating_mul(pairs);
        let until = self
            .options
            .lasts()
            .map(|lasts| lasts.saturating_sub(self.begun.elapsed()));
        let left = left.min(until.unwrap_or(left));
        span(u64::try_from(left.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Says what is not measured here.
///
/// # Errors
/// When it is what is to be judged.
fn tell(missing: &Missing, primary: &Primary) -> anyhow::Result<()> {
    if let Some(why) = &missing.waits {
        if *primary == Primary::Waits {
            let what = "`--live` judges by how long tasks wait";
            return Err(load::refused(why).context(what));
        }
        progress(&format!("how long tasks wait is not measured: {why}"));
    }
    let by_instructions = [Primary::Instructions, Primary::EnergyPerInstruction];
    let by_energy = [Primary::Energy, Primary::EnergyPerInstruction];
    let needed = [
        (
            by_instructions.contains(primary),
            "the instructions of programs",
            &missing.instructions,
        ),
        (
            *primary == Primary::Completions,
            "what disks and the network complete",
            &missing.completions,
        ),
        (
            by_energy.contains(primary),
            "the energy that the processors take",
            &missing.energy,
        ),
    ];
    for (is_needed, what, why) in needed {
        if let Some(why) = why.as_ref().filter(|_| is_needed) {
            let text = format!("`--goal` judges by {what}, not measured here: {}", why.text);
            return Err(WithCode::error(why.code, text));
        }
    }
    if let Some(others) = missing.others() {
        progress(&others);
    }
    Ok(())
}

/// What the command is called, as other users of leases are.
fn application(command: &[OsString]) -> String {
    let Some(program) = command.first() else {
        return "auto-ext".to_owned();
    };
    let name = Path::new(program).file_name().unwrap_or(program);
    let name = name.to_string_lossy();
    name.chars()
        .filter(|char| !char.is_control())
        .take(60)
        .collect()
}

fn create(path: &Path) -> anyhow::Result<Csv<File>> {
    if path.as_os_str() == new_file::STDOUT {
        return Err(anyhow!(
            "the answer is on standard output; `--csv` needs a file"
        ));
    }
    let file = new_file::create(path)?;
    Csv::begin(file).with_context(|| format!("{}: cannot be written", path.display()))
}

/// Tells the person how far it is.
pub(super) fn progress(what: &str) {
    // Without standard error there is nowhere to write it.
    let _ = writeln!(io::stderr(), "{}", sanitize(what));
}
