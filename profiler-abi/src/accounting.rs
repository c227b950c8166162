//! What a CPU's time went to, pure: from one look at a CPU to the next. The BPF programs look, at the moments that the
//! kernel's tracepoints give them; what is counted is decided here, so that it is tested without a kernel.
//!
//! Owns the arithmetic of [`SchedCounters`]. Leaves to others when a CPU is looked at, and what the counters mean.

/// A burst on a CPU that ended in sleep counts as short below this many nanoseconds on a recent
/// machine; on a slower one user space sets the global `SHORT_BURST_NS` accordingly.
///
/// A frame's worth of drawing, an audio period or the handling of an input event stays below it;
/// what computes does not go to sleep that soon.
pub const SHORT_BURST_NS: u64 = 4_000_000;

/// The longest time between two wake-ups by a timer, in nanoseconds, after which they belong to no rhythm that a person
/// could notice: four a second.
const LONGEST_PERIOD_NS: u64 = 250_000_000;
/// The longest CPU time between two wake-ups by a timer, in nanoseconds: twenty frames a second.
const LONGEST_WORK_NS: u64 = 50_000_000;

/// The share of its time that a task must use to count, as a divisor: what only looks whether there is something to do, as
/// services do in their hundreds, uses less.
const LEAST_WORK: u64 = 200;

/// Filled by the programs of `sched.rs`, each CPU its own.
///
/// Who reads it reads `ended` first and `begun` last: when they differ, it was being written.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedCounters {
    /// How many changes were completed.
    pub ended: u64,
    /// CLOCK_MONOTONIC up to which the CPU's time is accounted for; 0 until its first event.
    pub until: u64,
    /// 1 while the CPU is not idle.
    pub busy: u64,
    /// How many switches from one task to another, or to idle, the run queue had counted then.
    pub switches: u64,
    /// The task that ran then: its address, its number, which is 0 for the idle task, and how often it had
    /// gone to sleep.
    pub task: u64,
    /// See `task`.
    pub pid: u64,
    /// See `task`.
    pub sleeps: u64,
    /// 1 when that task is in the background: niced, or of the idle class.
    pub background: u64,
    /// How many tasks waited then that are not in the background.
    pub waiting: u64,
    /// Busy nanoseconds since its burst began.
    pub burst_ns: u64,
    /// Nanoseconds in which the CPU was not idle.
    pub busy_ns: u64,
    /// Of these, the nanoseconds in which the machine's host had taken the CPU away.
    pub stolen_ns: u64,
    /// Of the busy nanoseconds that were not stolen, those of tasks in the background.
    pub background_ns: u64,
    /// Sum over the waiting tasks that are not in the background of the nanoseconds they waited.
    pub wait_ns: u64,
    /// Nanoseconds in which there was at least one.
    pub contended_ns: u64,
    /// Nanoseconds in bursts that were short and ended in sleep.
    pub short_ns: u64,
    /// Number of those bursts.
    pub short_bursts: u64,
    /// Nanoseconds of CPU time of tasks that timers wake again and again, for little each time.
    pub timed_ns: u64,
    /// How often timers woke them.
    pub timed_wakes: u64,
    /// How many changes were begun.
    pub begun: u64,
}

/// What is found at one look at a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// CLOCK_MONOTONIC.
    pub now: u64,
    /// The running task, as in [`SchedCounters`].
    pub task: u64,
    /// See `task`.
    pub pid: u64,
    /// See `task`.
    pub sleeps: u64,
    /// See `task`.
    pub background: u64,
    /// How many tasks wait that are not in the background.
    pub waiting: u64,
    /// The run queue's number of switches.
    pub switches: u64,
    /// How long the timer that brought this look was overdue, in nanoseconds: the CPU was not there then. 0 when that is
    /// less than a CPU that nobody takes away may be late.
    pub late_ns: u64,
}

impl SchedCounters {
    /// An interrupt comes while the CPU is idle. It is busy with that until it is idle again, or not idle any more.
    #[inline(always)]
    pub fn interrupt(&mut self, now: u64) {
        if self.busy == 0 {
            *self = Self {
                until: now,
                busy: 1,
                pid: 0,
                burst_ns: 0,
                background: 0,
                waiting: 0,
                ..*self
            };
        }
    }

    /// The CPU stops being idle, or is looked at for the first time.
    #[inline(always)]
    pub fn begin(&mut self, look: &Look) {
        if self.busy != 0 {
            // The interrupt that ended the idleness.
            self.busy_ns += look.now.saturating_sub(self.until);
        }
        self.until = look.now;
        self.busy = 1;
        self.burst_ns = 0;
        self.remember(look);
        // The switch from the idle task to the next one, if it comes, ends no burst.
        if look.pid == 0 {
            self.switches = look.switches.wrapping_add(1);
        }
    }

    /// The CPU has been busy until this look, and stays so. `slept` says whether the task that was remembered has gone to
    /// sleep since then, or ended; below `short_burst_ns` a burst is short.
    #[inline(always)]
    pub fn goes_on(&mut self, look: &Look, slept: bool, short_burst_ns: u64) {
        let ran = self.account(look, look.background);
        let ended = look.switches.wrapping_sub(self.switches) as i64;
        if ended <= 0 {
            self.burst_ns += ran;
            self.background = look.background;
            self.waiting = look.waiting;
            return;
        }
        let interrupted = !slept && look.pid == self.pid;
        if interrupted {
            self.burst_ns += ran;
        } else {
            // The last piece is of the burst that goes on.
            let piece = ran / (ended as u64 + 1);
            // Of who ran after the CPU had been idle nothing is known.
            let slept = slept && self.pid != 0;
            self.bursts(piece, ended as u64, short_burst_ns, slept);
            self.burst_ns = piece;
        }
        self.remember(look);
    }

    /// The CPU has been busy until this look, and is idle from now on.
    #[inline(always)]
    pub fn end(&mut self, look: &Look, slept: bool, short_burst_ns: u64) {
        let ended = look.switches.wrapping_sub(self.switches) as i64;
        // With one switch it was that task, which left the CPU idle; of what came in between nothing is known.
        let background = if ended <= 1 { self.background } else { 0 };
        let ran = self.account(look, background);
        if ended > 0 {
            // Who left the CPU idle sleeps, or ended.
            let slept = slept || self.pid == 0;
            self.bursts(ran / ended as u64, ended as u64, short_burst_ns, slept);
        }
        // What was not a task's was an interrupt's.
        self.burst_ns = 0;
        self.busy = 0;
        self.waiting = 0;
    }

    /// A timer wakes a task that it woke before. What the task worked in between counts if that is a rhythm, and was one
    /// the time before. Returns the wake-up as the next one will ask for it.
    #[inline(always)]
    pub fn woken(&mut self, before: &TimerWake, now: &TimerWake) -> TimerWake {
        let period = now.at.saturating_sub(before.at);
        let work = now.runtime.saturating_sub(before.runtime);
        // What computes nearly all of the time only makes a pause.
        let is_rhythm = period <= LONGEST_PERIOD_NS && work <= period - period / 10;
        let fits = is_rhythm && work <= LONGEST_WORK_NS && work >= period / LEAST_WORK;
        if fits && before.fits != 0 {
            self.timed_ns += work;
            self.timed_wakes += 1;
        }
        TimerWake {
            fits: u64::from(fits),
            ..*now
        }
    }

    #[inline(always)]
    fn remember(&mut self, look: &Look) {
        self.task = look.task;
        self.pid = look.pid;
        self.sleeps = look.sleeps;
        self.background = look.background;
        self.waiting = look.waiting;
        self.switches = look.switches;
    }

    /// Accounts for the time since the last look, and returns what of it was the CPU's own. Who waited at the last look
    /// has waited since then; who came later is counted by the next.
    #[inline(always)]
    fn account(&mut self, look: &Look, background: u64) -> u64 {
        let elapsed = look.now.saturating_sub(self.until);
        let stolen = if look.late_ns < elapsed {
            look.late_ns
        } else {
            elapsed
        };
        let ran = elapsed - stolen;
        self.until = look.now;
        self.busy_ns += elapsed;
        self.stolen_ns += stolen;
        if background != 0 {
            self.background_ns += ran;
        }
        self.wait_ns += self.waiting * ran;
        if self.waiting != 0 {
            self.contended_ns += ran;
        }
        ran
    }

    /// So many bursts ended, each of them `piece` nanoseconds long; the first one had begun before.
    #[inline(always)]
    fn bursts(&mut self, piece: u64, ended: u64, short_burst_ns: u64, slept: bool) {
        if !slept {
            return;
        }
        let first = self.burst_ns + piece;
        if first < short_burst_ns {
            self.short_ns += first;
            self.short_bursts += 1;
        }
        if piece < short_burst_ns {
            self.short_ns += piece * (ended - 1);
            self.short_bursts += ended - 1;
        }
    }
}

/// A wake-up of a task by a timer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerWake {
    /// CLOCK_MONOTONIC.
    pub at: u64,
    /// The CPU time that the task has had, in nanoseconds.
    pub runtime: u64,
    /// 1 when what the task worked since the wake-up before could be a part of a rhythm.
    pub fits: u64,
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    const MS: u64 = 1_000_000;

    /// A CPU that is looked at as the kernel's tracepoints do, and what is true of it.
    #[derive(Default)]
    struct Cpu {
        counters: SchedCounters,
        now: u64,
        tick: u64,
        switches: u64,
        task: u64,
        sleeps: [u64; 8],
        waiting: u64,
        background: u64,
    }

    fn index(task: u64) -> usize {
        usize::try_from(task).expect("there are eight")
    }

    impl Cpu {
        fn with_ticks_every(tick: u64) -> Self {
            Self {
                tick,
                now: 8 * MS,
                ..Self::default()
            }
        }

        fn look(&self) -> Look {
            Look {
                now: self.now,
                task: self.task,
                pid: self.task,
                sleeps: self.sleeps[index(self.task)],
                background: self.background,
                waiting: self.waiting,
                switches: self.switches,
                late_ns: 0,
            }
        }

        fn slept(&self) -> bool {
            self.sleeps[index(self.counters.pid)] != self.counters.sleeps
        }

        fn wakes_from_idle(&mut self) {
            self.task = 0;
            let look = self.look();
            self.counters.begin(&look);
        }

        fn switches_to(&mut self, task: u64, sleeps: bool) {
            if sleeps {
                self.sleeps[index(self.task)] += 1;
            }
            self.task = task;
            self.switches += 1;
        }

        /// Whoever runs goes on for so long; the ticks in between look.
        fn runs(&mut self, ns: u64) {
            let end = self.now + ns;
            loop {
                let tick = (self.now / self.tick + 1) * self.tick;
                if tick > end {
                    break;
                }
                self.now = tick;
                let (look, slept) = (self.look(), self.slept());
                self.counters.goes_on(&look, slept, SHORT_BURST_NS);
            }
            self.now = end;
        }

        fn becomes_idle(&mut self, sleeps: bool) {
            if self.task != 0 {
                self.switches_to(0, sleeps);
            }
            let (look, slept) = (self.look(), self.slept());
            self.counters.end(&look, slept, SHORT_BURST_NS);
        }
    }

    /// The ticks of CONFIG_HZ 100, 250, 300 and 1000.
    const TICKS: [u64; 4] = [10 * MS, 4 * MS, 3_333_333, MS];

    #[test]
    fn bursts_between_idle_times_are_short_or_long_whatever_the_tick() {
        for tick in TICKS {
            for (burst, is_short) in [
                (MS, true),
                (3_500_000, true),
                (4_500_000, false),
                (30 * MS, false),
            ] {
                let mut cpu = Cpu::with_ticks_every(tick);
                for _ in 0..100 {
                    cpu.now += 3 * MS + 123_457;
                    cpu.wakes_from_idle();
                    cpu.switches_to(1, false);
                    cpu.runs(burst);
                    cpu.becomes_idle(true);
                }
                let short = cpu.counters.short_ns;
                assert_eq!(cpu.counters.busy_ns, 100 * burst);
                let expected = if is_short { 100 * burst } else { 0 };
                assert_eq!(short, expected, "bursts of {burst} ns, ticks of {tick} ns");
            }
        }
    }

    #[test]
    fn one_long_burst_among_many_switches_is_not_a_hundred_short_ones() {
        for tick in TICKS {
            let mut cpu = Cpu::with_ticks_every(tick);
            cpu.wakes_from_idle();
            cpu.switches_to(1, false);
            cpu.runs(300 * MS);
            for _ in 0..50 {
                cpu.switches_to(2, true);
                cpu.runs(20_000);
                cpu.switches_to(1, true);
                cpu.runs(20_000);
            }
            cpu.becomes_idle(true);
            // Not more than what passed since the last tick, and what was short.
            assert!(cpu.counters.short_ns <= tick + 2 * MS, "{:?}", cpu.counters);
        }
    }

    #[test]
    fn who_computes_beside_others_has_no_short_bursts() {
        for tick in TICKS {
            let mut cpu = Cpu::with_ticks_every(tick);
            cpu.wakes_from_idle();
            for _ in 0..50 {
                for task in [1, 2] {
                    cpu.switches_to(task, false);
                    cpu.runs(3 * MS);
                }
            }
            assert_eq!(cpu.counters.short_ns, 0, "ticks of {tick} ns");
        }
    }

    #[test]
    fn who_came_at_the_end_of_a_time_without_ticks_has_not_waited_through_it() {
        let mut cpu = Cpu::with_ticks_every(60_000 * MS);
        cpu.wakes_from_idle();
        cpu.switches_to(1, false);
        cpu.runs(59_000 * MS);
        cpu.waiting = 3;
        cpu.runs(60_000 * MS - cpu.now);
        assert_eq!(cpu.counters.wait_ns, 0);
        cpu.tick = 4 * MS;
        cpu.runs(4 * MS);
        assert_eq!(cpu.counters.wait_ns, 12 * MS);
        assert_eq!(cpu.counters.contended_ns, 4 * MS);
    }

    #[test]
    fn a_cpu_that_was_taken_away_has_not_worked() {
        let mut cpu = Cpu::with_ticks_every(4 * MS);
        cpu.wakes_from_idle();
        cpu.switches_to(1, false);
        cpu.waiting = 1;
        cpu.runs(4 * MS);
        let before = cpu.counters;
        cpu.now += 24 * MS;
        let look = Look {
            late_ns: 20 * MS,
            ..cpu.look()
        };
        cpu.counters.goes_on(&look, false, SHORT_BURST_NS);
        let (busy, stolen) = (before.busy_ns + 24 * MS, 20 * MS);
        assert_eq!(
            (cpu.counters.busy_ns, cpu.counters.stolen_ns),
            (busy, stolen)
        );
        assert_eq!(cpu.counters.wait_ns - before.wait_ns, 4 * MS);
    }

    #[test]
    fn a_rhythm_counts_and_pauses_in_a_computation_do_not() {
        let wakes = |period: u64, work: u64| {
            let mut counters = SchedCounters::default();
            let wake = |n| TimerWake {
                at: n * period,
                runtime: n * work,
                fits: 0,
            };
            let mut last = wake(0);
            for n in 1..=11 {
                last = counters.woken(&last, &wake(n));
            }
            counters.timed_ns
        };
        assert_eq!(wakes(10 * MS, MS), 10 * MS, "audio");
        assert_eq!(wakes(16_666_667, 12 * MS), 120 * MS, "frames");
        assert_eq!(wakes(4 * MS, 3_900_000), 0, "a computation that pauses");
        assert_eq!(
            wakes(1000 * MS, 5 * MS),
            0,
            "what looks after something now and then"
        );
        assert_eq!(
            wakes(100 * MS, 50_000),
            0,
            "what looks whether there is something to do"
        );
        assert_eq!(wakes(200 * MS, 90 * MS), 0, "work that nobody waits for");
    }

    #[test]
    fn a_computation_that_is_held_up_once_has_no_rhythm() {
        let mut counters = SchedCounters::default();
        let mut last = TimerWake::default();
        for n in 1..=100 {
            let held_up = if n % 10 == 0 { 2 * MS } else { 0 };
            let now = TimerWake {
                at: last.at + 4 * MS + held_up,
                runtime: last.runtime + 3_950_000,
                fits: 0,
            };
            last = counters.woken(&last, &now);
        }
        assert_eq!(counters.timed_ns, 0);
    }

    #[test]
    fn what_an_interrupt_does_on_an_idle_cpu_is_busy_time_of_nobody() {
        let mut cpu = Cpu::with_ticks_every(4 * MS);
        cpu.wakes_from_idle();
        cpu.becomes_idle(true);
        cpu.now += 10 * MS;
        cpu.counters.interrupt(cpu.now);
        cpu.now += 30_000;
        cpu.counters.interrupt(cpu.now);
        cpu.now += 20_000;
        cpu.wakes_from_idle();
        cpu.now += 5_000;
        cpu.becomes_idle(true);
        let counters = cpu.counters;
        assert_eq!((counters.busy_ns, counters.short_ns), (55_000, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Run(u64),
        Switch(u64, bool),
        Idle(u64),
        Wait(u64),
        Nice(bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1..50 * MS).prop_map(Step::Run),
            (1..8u64, any::<bool>()).prop_map(|(task, slept)| Step::Switch(task, slept)),
            (1..50 * MS).prop_map(Step::Idle),
            (0..5u64).prop_map(Step::Wait),
            any::<bool>().prop_map(Step::Nice),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn no_part_is_more_than_the_whole_and_busy_time_is_exact(
            steps in steps(), tick in prop::sample::select(&TICKS[..]),
        ) {
            let mut cpu = Cpu::with_ticks_every(tick);
            let (mut busy, mut most_waiting) = (0, 0);
            cpu.wakes_from_idle();
            for step in steps {
                match step {
                    Step::Run(ns) => {
                        cpu.runs(ns);
                        busy += ns;
                    }
                    Step::Switch(task, slept) => cpu.switches_to(task, slept),
                    Step::Idle(ns) => {
                        cpu.becomes_idle(true);
                        cpu.now += ns;
                        cpu.wakes_from_idle();
                    }
                    Step::Wait(waiting) => {
                        cpu.waiting = waiting;
                        most_waiting = waiting.max(most_waiting);
                    }
                    Step::Nice(nice) => cpu.background = u64::from(nice),
                }
            }
            cpu.becomes_idle(true);
            let counters = cpu.counters;
            prop_assert_eq!(counters.busy_ns, busy);
            prop_assert!(counters.background_ns <= busy);
            prop_assert!(counters.short_ns <= busy);
            prop_assert!(counters.contended_ns <= busy);
            prop_assert!(counters.wait_ns <= most_waiting * busy);
        }
    }
}
