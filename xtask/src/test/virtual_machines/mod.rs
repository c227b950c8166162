//! Owns the tests of auto-ext-vm with a real libvirt and real, if emulated, virtual machines: that it places vCPUs (`placing`),
//! gives and takes memory (`memory`), does so without libvirt (`without_libvirt`), puts back what it found, and shows what was ordered (`shown`).
//!
//! vCPUs are judged by what they want and how they are pinned, never by how busy they are: emulated ones share their processors with
//! whatever else runs.

mod guest;
mod host;
mod memory;
mod placing;
mod shown;
mod without_libvirt;

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Result, ensure};

use super::count::Count;
use crate::command::{complain, say, step};
use crate::{ebpf, workspace};
use guest::Guest;
use host::Host;
use placing::Pins;

/// The step.
pub(super) const VIRTUAL_MACHINES: &str = "virtual machines";

const WITH_SPARE_VCPU: Guest = Guest::with_spare_vcpu("vm5");
const WITHOUT_BALLOON: Guest = Guest::without_balloon("vm6");
const WITHOUT_DRIVER: Guest = Guest::without_driver("vm7");
const TO_BE_KILLED: Guest = Guest::new("vm8");

/// Those who are there from the beginning, and those who come later.
const FOUR: [Guest; 4] = [
    Guest::new("vm1"),
    Guest::new("vm2"),
    Guest::new("vm3"),
    Guest::new("vm4"),
];
const FOUR_MORE: [Guest; 4] = [
    WITH_SPARE_VCPU,
    WITHOUT_BALLOON,
    WITHOUT_DRIVER,
    TO_BE_KILLED,
];
const EIGHT: [Guest; 8] = [
    FOUR[0],
    FOUR[1],
    FOUR[2],
    FOUR[3],
    FOUR_MORE[0],
    FOUR_MORE[1],
    FOUR_MORE[2],
    FOUR_MORE[3],
];

type Check = (&'static str, fn(&Host) -> Result<()>);
type Trial = (&'static str, fn(&Host) -> Result<Vec<Pins>>);

macro_rules! checks {
    ($($module:ident::$name:ident,)+) => {
        &[$((stringify!($name), |host| $module::$name(host).map(drop))),+]
    };
}

/// What is tried again and again: it tells how many pins each plan took.
const AGAIN: &[Trial] = &[
    (
        "vcpus_that_share_one_cpu_are_spread_and_put_back",
        placing::vcpus_that_share_one_cpu_are_spread_and_put_back,
    ),
    (
        "vcpus_that_are_well_placed_are_left",
        placing::vcpus_that_are_well_placed_are_left,
    ),
    (
        "heavy_and_light_vcpus_are_mixed",
        placing::heavy_and_light_vcpus_are_mixed,
    ),
];

/// With four guests.
const WITH_FOUR: &[Check] = checks![
    placing::vcpus_that_share_one_cpu_are_spread_and_put_back,
    placing::vcpus_that_are_well_placed_are_left,
    placing::heavy_and_light_vcpus_are_mixed,
    placing::who_comes_after_one_that_was_killed_puts_back_what_it_left,
    placing::who_is_pinned_by_somebody_else_is_left_to_them,
    placing::a_daemon_of_libvirt_that_is_started_again_is_found_again,
    shown::a_dry_run_tells_the_plan_and_changes_nothing,
    shown::the_monitor_shows_what_was_ordered,
];

/// With eight, in this order: the last ones leave less than they find.
const WITH_EIGHT: &[Check] = checks![
    placing::eight_on_one_cpu_are_spread_by_one_plan,
    placing::cpus_that_are_wanted_three_times_over_are_planned_once,
    placing::a_vcpu_that_is_plugged_in_does_not_run_beside_its_sibling,
    placing::a_guest_that_is_killed_changes_nothing_for_the_others,
    shown::who_has_no_balloon_is_said,
    without_libvirt::guests_of_qemu_alone_are_placed_and_give_memory,
    memory::a_guest_that_grows_always_has_memory_to_spare,
    memory::the_naive_rule_kills_a_guest_or_its_program,
];

/// Runs all of them, or those with this in their name.
pub(super) fn virtual_machines(filter: Option<&str>) -> Result<Count> {
    let host = with_four()?;
    let wanted = |checks: &[Check]| -> Vec<Check> {
        let is_wanted = |(name, _): &&Check| filter.is_none_or(|part| name.contains(part));
        checks.iter().filter(is_wanted).copied().collect()
    };
    let mut count = Count::default();
    for check in wanted(WITH_FOUR) {
        count += checked(&host, check);
    }
    let with_eight = wanted(WITH_EIGHT);
    if !with_eight.is_empty() {
        step("booting six more", || {
            host.boot(&[&FOUR_MORE[..], &without_libvirt::GUESTS].concat())
        })?;
    }
    for check in with_eight {
        count += checked(&host, check);
    }
    Ok(count)
}

/// Has four guests be placed so often, and says how often in a row all was as it should be, with the pins of each plan. What fails once is
/// not tried again: it has not held so often, and where a guest is gone each of the others would be waited for in vain.
pub(crate) fn placed_again_and_again(times: u32, out: &mut dyn Write) -> Result<()> {
    let host = with_four()?;
    for (name, check) in AGAIN {
        let mut plans: BTreeMap<Pins, u32> = BTreeMap::new();
        let mut passed = 0;
        while passed < times {
            let tried = step(&format!("{name}, {} of {times}", passed + 1), || {
                check(&host)
            });
            match tried {
                Ok(each) => {
                    for pins in each {
                        *plans.entry(pins).or_default() += 1;
                    }
                    passed += 1;
                }
                Err(error) => {
                    complain(format!("{name}: {error:#}"));
                    host.forget_what_was_found()?;
                    break;
                }
            }
        }
        let plans = in_words(&plans);
        let verdict = if passed == times { "holds" } else { "MISSED" };
        writeln!(
            out,
            "{name}: {passed} of {times} times in a row; pins: {plans}; {verdict}"
        )?;
    }
    Ok(())
}

fn in_words(plans: &BTreeMap<Pins, u32>) -> String {
    if plans.is_empty() {
        return "none".to_owned();
    }
    let plans = plans.iter();
    let each: Vec<String> = plans
        .map(|(pins, plans)| format!("{plans} x {pins}"))
        .collect();
    each.join(", ")
}

fn with_four() -> Result<Host> {
    let cpus = std::thread::available_parallelism()?.get();
    ensure!(cpus > 1, "it takes two CPUs to spread anything");
    ebpf::build_of_release(&["--bin=auto-ext-vm"])?;
    step("booting four virtual machines", || {
        let host = Host::start(&workspace::release("auto-ext-vm"))?;
        host.boot(&FOUR)?;
        Ok(host)
    })
}

fn checked(host: &Host, (name, check): Check) -> Count {
    match step(name, || check(host)) {
        Ok(()) => {
            say(format!("{name}: ok"));
            Count::PASSED
        }
        Err(error) => {
            complain(format!("{name}: {error:#}"));
            if let Err(error) = host.forget_what_was_found() {
                complain(format!(
                    "the next check finds what this one left: {error:#}"
                ));
            }
            Count::FAILED
        }
    }
}

fn names(guests: &[Guest]) -> impl Iterator<Item = &'static str> {
    guests.iter().map(|guest| guest.name)
}
