//! What runs inside the test machine, as root: the system tests, the demonstration, and what of the
//! benchmarks is done there. The loads, and what records them, run on other machines too.
//!
//! Everything is looked at as a user would: the kernel through sysfs, the service through systemd,
//! D-Bus and its command line. None of auto-ext's own code is used to judge it; `pretend` runs some of it, with counters that are
//! made up, and `rounds`, which judges schedulers without the daemon, counts migrations by the profiler's counter.

#![expect(
    clippy::print_stderr,
    clippy::panic,
    reason = "a test speaks to its runner"
)]

mod broken;
mod classify;
mod congestion;
mod demo;
mod detect;
mod drop_in;
mod flood;
mod jobs;
mod kernel;
mod leftovers;
mod load;
mod loads;
mod measured;
mod picture;
mod pinning;
mod policy;
mod pretend;
mod process;
mod scx_loader;
mod service;
mod stall;
mod swaps;
mod terminal;
mod tests;
mod trace;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["swaps", ref targets @ ..] => end("swaps", swaps::run(targets)),
        ["classify", ref words @ ..] => end("classify", classify::run(words)),
        ["labelled", name, seconds] => end("labelled", classify::be_load(name, seconds)),
        ["detect", ref words @ ..] => end("detect", detect::run(words)),
        ["measured"] => end("measured", measured::run(false)),
        ["demo"] => end("demo", demo::run()),
        ["picture"] => end("picture", picture::print()),
        ["traces"] => end("traces", trace::print_all()),
        ["traced", name] => end("traced", trace::be_load_for_a_while(name)),
        ["jobs", ref words @ ..] => end("jobs", jobs::compare(words)),
        ["plants", ref words @ ..] => end("plants", jobs::plants::run(words)),
        ["tried", ref words @ ..] => end("tried", jobs::tried::run(words)),
        ["rounds", ref words @ ..] => end("rounds", jobs::rounds::run(words)),
        ["job", name] => end("job", jobs::run(name)),
        ["load", ref words @ ..] => loads::be(words),
        ["leaks", ref numbers @ ..] => end("leaks", tests::leaks::look_for_them(numbers)),
        ["soak", ref numbers @ ..] => end("soak", tests::soak::soak(numbers)),
        ["soak-trials", ref numbers @ ..] => end("soak", tests::soak::with_trials(numbers)),
        ["congestion", ref words @ ..] => end("congestion", congestion::run(words)),
        ["flood", seconds] => end("flood", flood::ask_without_end(seconds)),
        ["sleepers"] => load::be_short_sleepers(),
        ["packages"] => tests::run_packages(),
        ["faults", ref filter @ ..] => tests::run_faults(filter),
        ["no-loads", ref filter @ ..] => tests::run_without_loads(filter),
        ["pretend", file] => end("pretend", pretend::serve(file)),
        ["sizes"] => tests::run_on_any_size(),
        ["smt", ref filter @ ..] => tests::run_with_smt(filter),
        _ => tests::run(),
    }
}

/// Says what went wrong, if anything did.
fn end(what: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{what}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
