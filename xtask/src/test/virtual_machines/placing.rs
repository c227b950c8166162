//! Owns the tests of where vCPUs run. All of it is on the two CPUs that guests may run on here.

use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::guest::{CPUS, Guest};
use super::host::{Host, Program};
use super::{EIGHT, FOUR, TO_BE_KILLED, WITH_SPARE_VCPU, names};

/// For how long it is looked on whether anything is done that should not be: four windows.
const LOOKS_ON: Duration = Duration::from_secs(8);

/// What is run: windows of two seconds.
const RUN: &str = "auto-ext-vm run 2 --cpu";
const PINNED: &str = " pinned and ";

/// Has vCPUs run there, the first guest on the first of these, and so on in turn.
pub(super) fn at(host: &Host, guests: &[Guest], cpus: &[&str]) -> Result<()> {
    for (guest, cpus) in names(guests).zip(cpus.iter().cycle()) {
        host.say(&format!("virsh --quiet vcpupin {guest} 0 {cpus} --live"))?;
    }
    let expected: Vec<&str> = cpus.iter().copied().cycle().take(guests.len()).collect();
    let masks = masks(host, guests)?;
    ensure!(
        masks == expected,
        "they are on {masks:?}, not where they were put"
    );
    Ok(())
}

/// Has guests be busy for so many percent of the time, in turn.
pub(super) fn busy(host: &Host, guests: &[Guest], percents: &[u32]) -> Result<()> {
    for (guest, percent) in names(guests).zip(percents.iter().cycle()) {
        host.tell(guest, &format!("cpu {percent}"))?;
    }
    Ok(())
}

pub(super) fn masks(host: &Host, guests: &[Guest]) -> Result<Vec<String>> {
    names(guests).map(|guest| host.mask(guest, 0)).collect()
}

/// How many pins a plan took, and how few would have done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pins {
    fewest: usize,
    taken: usize,
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} where {} do", self.taken, self.fewest)
    }
}

/// A plan that was carried out and put back: its pins, and where vCPUs ran by it.
struct Placed {
    /// The window after which that was.
    window: u32,
    pins: Pins,
    masks: Vec<String>,
}

/// What was said of the first plan that was carried out.
struct Plan {
    window: u32,
    pins: usize,
    before: f64,
    after: f64,
}

impl Plan {
    fn first(said: &str) -> Option<Self> {
        let line = said.lines().find(|line| line.contains(" pinned and "))?;
        let (window, rest) = line.strip_prefix("window ")?.split_once(": vCPUs: ")?;
        let (pins, rest) = rest.split_once(" pinned and ")?;
        let (_, fall) = rest.split_once("is to fall from ")?;
        let (before, after) = fall.split_once(" to ")?;
        Some(Self {
            window: window.parse().ok()?,
            pins: pins.parse().ok()?,
            before: before.parse().ok()?,
            after: after.parse().ok()?,
        })
    }
}

/// Runs until there was a plan, which has to take so many pins; one may do less or more, as the CPUs carry something else too. Returns
/// them and where vCPUs ran then; at its end they run where they did.
fn planned(host: &Host, guests: &[Guest], fewest: usize) -> Result<Placed> {
    let before = masks(host, guests)?;
    let program = host.begin(RUN)?;
    let said = program.wait_until_it_says(PINNED)?;
    let pinned = masks(host, guests)?;
    program.end("TERM")?;
    let plan = Plan::first(&said).with_context(|| format!("no plan in:\n{said}"))?;
    ensure!(
        plan.pins.abs_diff(fewest) <= 1,
        "{} pins and not {fewest}:\n{said}",
        plan.pins
    );
    let gain = plan.before - plan.after;
    // Those whom nobody has pinned are, where they are even already, too.
    let is_even = plan.before <= 5.0;
    ensure!(
        is_even || gain >= 1f64.max(plan.before / 5.0),
        "too little for pins:\n{said}"
    );
    let moved = before
        .iter()
        .zip(&pinned)
        .filter(|(one, other)| one != other);
    ensure!(
        moved.count() == plan.pins,
        "from {before:?} to {pinned:?}:\n{said}"
    );
    let after = masks(host, guests)?;
    ensure!(
        after == before,
        "they were not put back: {after:?} and not {before:?}"
    );
    Ok(Placed {
        window: plan.window,
        pins: Pins {
            fewest,
            taken: plan.pins,
        },
        masks: pinned,
    })
}

/// How many run on the first CPU, and how many on the second.
fn on_each(masks: &[String]) -> [usize; 2] {
    ["0", "1"].map(|cpu| masks.iter().filter(|mask| *mask == cpu).count())
}

/// Whether all of them run on one of both, and on each about as many.
fn are_spread(masks: &[String]) -> bool {
    let [one, other] = on_each(masks);
    one + other == masks.len() && one.abs_diff(other) <= 2
}

/// Equal vCPUs on one CPU are spread within three windows. Others may have to wait until whoever else runs leaves a CPU to go to.
fn soon(placed: Placed) -> Result<Placed> {
    ensure!(
        placed.window <= 3,
        "not in the third window yet, but in window {}",
        placed.window
    );
    Ok(placed)
}

pub(super) fn vcpus_that_share_one_cpu_are_spread_and_put_back(host: &Host) -> Result<Vec<Pins>> {
    at(host, &FOUR, &["0"])?;
    busy(host, &FOUR, &[30])?;
    let placed = soon(planned(host, &FOUR, 2)?)?;
    ensure!(are_spread(&placed.masks), "they ran on {:?}", placed.masks);
    Ok(vec![placed.pins])
}

pub(super) fn vcpus_that_are_well_placed_are_left(host: &Host) -> Result<Vec<Pins>> {
    at(host, &FOUR, &["0", "1"])?;
    busy(host, &FOUR, &[30])?;
    nothing_is_pinned(host.begin(RUN)?)?;
    let after = masks(host, &FOUR)?;
    ensure!(after == ["0", "1", "0", "1"], "they run on {after:?}");
    Ok(Vec::new())
}

fn nothing_is_pinned(program: Program<'_>) -> Result<()> {
    program.wait_until_it_says("window 1:")?;
    sleep(LOOKS_ON);
    let said = program.end("TERM")?;
    ensure!(!said.contains(PINNED) && !said.contains("to CPU"), "{said}");
    Ok(())
}

pub(super) fn heavy_and_light_vcpus_are_mixed(host: &Host) -> Result<Vec<Pins>> {
    busy(host, &FOUR, &[80, 80, 40, 40])?;
    let mut taken = Vec::new();
    // Nobody has pinned them; or the heavy ones are on one CPU, and the light ones on the other.
    for (found, fewest) in [(&[CPUS][..], 4), (&["0", "0", "1", "1"], 2)] {
        at(host, &FOUR, found)?;
        let Placed { pins, masks, .. } = planned(host, &FOUR, fewest)?;
        let heavy_and_light = [on_each(&masks[..2]), on_each(&masks[2..])];
        ensure!(
            heavy_and_light == [[1, 1]; 2],
            "from {found:?} they came to run on {masks:?}"
        );
        taken.push(pins);
    }
    at(host, &FOUR, &["0"])?;
    let Placed { pins, masks, .. } = planned(host, &FOUR, 2)?;
    ensure!(are_spread(&masks), "they ran on {masks:?}");
    taken.push(pins);
    Ok(taken)
}

pub(super) fn who_comes_after_one_that_was_killed_puts_back_what_it_left(
    host: &Host,
) -> Result<()> {
    at(host, &FOUR, &["0"])?;
    busy(host, &FOUR, &[30])?;
    let program = host.begin("auto-ext-vm run 2")?;
    let said = program.wait_until_it_says(" pinned and ")?;
    program.end("KILL")?;
    let left = masks(host, &FOUR)?;
    ensure!(left != ["0"; 4], "nothing was left behind:\n{said}");
    let program = host.begin("auto-ext-vm run 60 --memory")?;
    program.wait_until_it_says("window 0")?;
    let after = masks(host, &FOUR)?;
    program.end("TERM")?;
    ensure!(
        after == ["0"; 4],
        "they were on {left:?} and are on {after:?}"
    );
    for guest in names(&FOUR) {
        let definition = host.say(&format!("virsh dumpxml {guest}"))?;
        ensure!(
            !definition.contains("<stats period"),
            "{guest} still speaks:\n{definition}"
        );
    }
    Ok(())
}

pub(super) fn who_is_pinned_by_somebody_else_is_left_to_them(host: &Host) -> Result<()> {
    at(host, &FOUR, &["0"])?;
    busy(host, &FOUR, &[30])?;
    let program = host.begin(RUN)?;
    program.wait_until_it_says(PINNED)?;
    let pinned = masks(host, &FOUR)?;
    let moved = names(&FOUR).zip(&pinned).find(|(_, mask)| *mask == "1");
    let (guest, _) = moved.context("nobody runs on the second CPU")?;
    host.taskset(guest, 0, CPUS)?;
    program.wait_until_it_says(&format!("somebody else pinned {guest}/0"))?;
    let said = program.end("TERM")?;
    for other in names(&FOUR) {
        let mask = host.mask(other, 0)?;
        let expected = if other == guest { CPUS } else { "0" };
        ensure!(mask == expected, "{other} runs on {mask}:\n{said}");
    }
    Ok(())
}

pub(super) fn a_daemon_of_libvirt_that_is_started_again_is_found_again(host: &Host) -> Result<()> {
    at(host, &FOUR, &["0"])?;
    busy(host, &FOUR, &[30])?;
    let program = host.begin(RUN)?;
    program.wait_until_it_says(PINNED)?;
    host.restart_the_daemon()?;
    // What is put back is put back by the new one.
    program.wait_until_it_says("watched")?;
    let said = program.end("TERM")?;
    let after = masks(host, &FOUR)?;
    ensure!(after == ["0"; 4], "they run on {after:?}:\n{said}");
    Ok(())
}

pub(super) fn eight_on_one_cpu_are_spread_by_one_plan(host: &Host) -> Result<()> {
    at(host, &EIGHT, &["0"])?;
    busy(host, &EIGHT, &[25])?;
    let Placed { masks, .. } = soon(planned(host, &EIGHT, 4)?)?;
    ensure!(are_spread(&masks), "they ran on {masks:?}");
    Ok(())
}

pub(super) fn cpus_that_are_wanted_three_times_over_are_planned_once(host: &Host) -> Result<()> {
    at(host, &EIGHT, &["0"])?;
    busy(host, &EIGHT, &[75])?;
    let program = host.begin(RUN)?;
    program.wait_until_it_says(PINNED)?;
    let pinned = masks(host, &EIGHT)?;
    program.wait_until_it_says("watched")?;
    sleep(LOOKS_ON);
    let later = masks(host, &EIGHT)?;
    let said = program.end("TERM")?;
    busy(host, &EIGHT, &[0])?;
    ensure!(
        are_spread(&pinned) && later == pinned && said.matches(PINNED).count() == 1,
        "from {pinned:?} to {later:?}:\n{said}"
    );
    Ok(())
}

pub(super) fn a_vcpu_that_is_plugged_in_does_not_run_beside_its_sibling(host: &Host) -> Result<()> {
    let guest = WITH_SPARE_VCPU.name;
    at(host, &EIGHT, &["0"])?;
    busy(host, &EIGHT, &[10])?;
    let program = host.begin(RUN)?;
    program.wait_until_it_says(PINNED)?;
    host.say(&format!("virsh --quiet setvcpus {guest} 2 --live"))?;
    program.wait_until_it_says(&format!("{guest}/1: to CPU "))?;
    let pinned = [host.mask(guest, 0)?, host.mask(guest, 1)?];
    let said = program.end("TERM")?;
    let mut sorted = pinned.clone();
    sorted.sort();
    ensure!(sorted == ["0", "1"], "they ran on {pinned:?}:\n{said}");
    let after = [host.mask(guest, 0)?, host.mask(guest, 1)?];
    ensure!(after == ["0", CPUS], "they run on {after:?}:\n{said}");
    Ok(())
}

pub(super) fn a_guest_that_is_killed_changes_nothing_for_the_others(host: &Host) -> Result<()> {
    let killed = TO_BE_KILLED.name;
    at(host, &EIGHT, &["0"])?;
    busy(host, &EIGHT, &[15])?;
    let program = host.begin(RUN)?;
    program.wait_until_it_says(PINNED)?;
    host.say(&format!("kill -KILL $(cat /run/libvirt/qemu/{killed}.pid)"))?;
    program.wait_until_it_says("watched")?;
    let said = program.end("TERM")?;
    let others: Vec<Guest> = EIGHT
        .into_iter()
        .filter(|guest| guest.name != killed)
        .collect();
    let after = masks(host, &others)?;
    ensure!(after == ["0"; 7], "they run on {after:?}:\n{said}");
    busy(host, &others, &[0])?;
    let state = host.say(&format!("virsh --quiet domstate {killed}"))?;
    ensure!(state.trim() == "shut off", "{killed} is {state}");
    Ok(())
}
