//! Prints how the decisions of auto-ext-vm stand to their bars: pins against the fewest that do, times, and guests that are lost,
//! with others' ways beside them. `cargo xtask bench vm` runs it. Its arguments are the number of small cases and of seeds; asserts
//! nothing.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;

use auto_ext_vm::cpu::plan;
use auto_ext_vm::simulation::{
    CPU_CASES, CPU_PEERS, MEMORY_CASES, MEMORY_PEERS, Pins, Run, fewest_pins, large_problem,
    run_peer, small_problem,
};

/// How often planning is timed.
const TIMES: usize = 11;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse());
    let cases: u64 = arguments.next().unwrap_or(Ok(500))?;
    let seeds: u64 = arguments.next().unwrap_or(Ok(50))?;
    let mut out = io::stdout().lock();
    crowded(&mut out)?;
    pins_of_cases(&mut out)?;
    optima(&mut out, cases)?;
    large(&mut out)?;
    lost(&mut out, seeds)?;
    memory(&mut out)?;
    Ok(())
}

/// In which interval C2 is balanced.
fn crowded(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let case = CPU_CASES.iter().find(|case| case.name.starts_with("C2 "));
    let mut run = case.ok_or("there is no C2")?.run();
    let balanced = (1..=30).find(|_| {
        let is_balanced = run.host.sigma() <= 5.0;
        run.step();
        is_balanced
    });
    let interval = balanced.map_or("none".to_owned(), |interval| interval.to_string());
    let ok = verdict(balanced.is_some_and(|interval| interval <= 3));
    writeln!(
        out,
        "C2: balanced in interval {interval}, {} pins (bar 3; a student's log: 12) {ok}",
        run.host.pins.len()
    )?;
    Ok(())
}

/// Whether each case takes as many pins as it is to.
fn pins_of_cases(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut kept = 0;
    for case in CPU_CASES {
        let mut run = case.run();
        let last = case.pins.iter().map(|(steps, _)| *steps.end()).max();
        run.steps(last.unwrap_or_default() + 1, case.happens);
        let is_kept = case.pins.iter().all(|(steps, expected)| {
            let pins = run.pins(steps.clone());
            match expected {
                Pins::Are(exactly) => pins == *exactly,
                Pins::AtMost(most) => pins <= *most,
            }
        });
        kept += usize::from(is_kept);
    }
    let ok = verdict(kept == CPU_CASES.len());
    writeln!(
        out,
        "C1 to C24: {kept} of {} take the pins that they are to {ok}",
        CPU_CASES.len()
    )?;
    Ok(())
}

fn optima(out: &mut impl Write, cases: u64) -> Result<(), Box<dyn Error>> {
    let (mut fewest, mut ours, mut worst, mut missed, mut possible) = (0, 0, 0, 0, 0);
    let mut of_peers = vec![(0, 0); CPU_PEERS.len()];
    let mut seeds = 0;
    // Where no pins make it even there is nothing to compare with.
    while possible < cases {
        let problem = small_problem(seeds, 9);
        seeds += 1;
        let Some(optimum) = fewest_pins(&problem) else {
            continue;
        };
        possible += 1;
        let plan = plan(&problem);
        missed += usize::from(!plan.is_even());
        fewest += optimum;
        ours += plan.pins.len();
        worst = worst.max(plan.pins.len().saturating_sub(optimum));
        for ((_, peer), (pins, missed)) in CPU_PEERS.iter().zip(&mut of_peers) {
            let placement = peer(&problem);
            *pins += placement.pins();
            *missed += usize::from(placement.sigma() > placement.tolerance());
        }
    }
    let more = |pins: usize| 100.0 * (pins as f64 / fewest.max(1) as f64 - 1.0);
    let ok = verdict(more(ours) <= 3.0 && worst <= 1 && missed == 0);
    writeln!(
        out,
        "{cases} small cases by chance that can be even, of {seeds}: {ours} pins, the fewest that do are {fewest}: {:+.1} %, at worst {worst} more, {missed} not even (bar 3 %, 1, 0) {ok}",
        more(ours)
    )?;
    for ((name, _), (pins, missed)) in CPU_PEERS.iter().zip(of_peers) {
        writeln!(
            out,
            "  {name}: {pins} pins, {:+.1} %, {missed} not even",
            more(pins)
        )?;
    }
    Ok(())
}

fn large(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let problem = large_problem(1, 500, 128);
    let mut pins = 0;
    let mut even = false;
    let mut times: Vec<f64> = (0..TIMES)
        .map(|_| {
            let begin = Instant::now();
            let plan = black_box(plan(black_box(&problem)));
            (pins, even) = (plan.pins.len(), plan.is_even());
            begin.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (fastest, median) = (times[0], times[TIMES / 2]);
    let ok = verdict(pins <= 150 && median <= 25.0 && even);
    let even = if even { "even" } else { "not even" };
    writeln!(
        out,
        "500 guests of 4 vCPUs on 128 CPUs: {pins} pins, {even}, {median:.1} ms, at best {fastest:.1} (bar 150 pins, 25 ms) {ok}"
    )?;
    for (name, peer) in CPU_PEERS {
        writeln!(out, "  {name}: {} pins", peer(&problem).pins())?;
    }
    Ok(())
}

fn lost(out: &mut impl Write, seeds: u64) -> Result<(), Box<dyn Error>> {
    let (mut ours, mut short) = (0, 0);
    let mut of_peers = vec![(0, 0); MEMORY_PEERS.len()];
    for case in MEMORY_CASES {
        for seed in 0..seeds {
            let mut run = Run::new(case.with_seed(seed), case.config());
            for _ in 0..case.steps {
                (case.happens)(&mut run.host);
                run.step();
            }
            ours += run.host.lost.len();
            short += usize::from(run.host.least_available < 200.0);
            for (peer, (lost, short)) in MEMORY_PEERS.iter().zip(&mut of_peers) {
                let mut host = case.with_seed(seed);
                for _ in 0..case.steps {
                    (case.happens)(&mut host);
                    run_peer(&mut host, peer, 1);
                }
                *lost += host.lost.len();
                *short += usize::from(host.least_available < 200.0);
            }
        }
    }
    let naive_loses = of_peers.first().is_some_and(|(lost, _)| *lost > 0);
    let ok = verdict(ours == 0 && naive_loses);
    writeln!(
        out,
        "M1 to M15 with {seeds} seeds: {ours} guests lost, in {short} runs the host had less than 200 MiB (bar 0 lost, naive more) {ok}"
    )?;
    for (peer, (lost, short)) in MEMORY_PEERS.iter().zip(of_peers) {
        writeln!(
            out,
            "  {}: {lost} lost, {short} runs below 200 MiB",
            peer.name
        )?;
    }
    Ok(())
}

fn memory(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u32>().ok());
    if let Some(peak) = peak {
        let peak = f64::from(peak) / 1024.0;
        let ok = verdict(peak <= 15.0);
        writeln!(
            out,
            "memory of all this process: {peak:.1} MiB (bar 15) {ok}"
        )?;
    }
    Ok(())
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "MISSED" }
}
