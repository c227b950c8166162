//! Builds, tests and demonstrates auto-ext. This module owns the command line; each subcommand is
//! a module of its own.

mod bench;
mod cache;
mod changelog;
mod command;
mod debian;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod machine;
mod needed;
mod notices;
mod picture;
mod prometheus;
mod said;
mod schedulers;
mod setup;
mod tail;
mod test;
mod tools;
mod topology;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests and demonstrates auto-ext
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing need: packages, tools, schedulers
    Setup,
    /// Build auto-ext for use, and nothing that is only needed for testing
    Build,
    /// Build the profiler with its BPF programs
    BuildEbpf,
    /// Check and test everything, on this machine and in the test machine
    Test(test::Arguments),
    /// Fuzz what comes from outside: policies, traces, requests, /sys
    Fuzz(fuzz::Arguments),
    /// Make the packages: a .deb, an .rpm and a .tar.gz with an installer
    Dist,
    /// Check the dependencies against the database of known vulnerabilities (needs the network)
    Advisories,
    /// Run a command, or a shell, in the test machine
    Vm(vm::Arguments),
    /// Watch auto-ext at work in the test machine, with real loads and schedulers
    Demo(demo::Arguments),
    /// Draw `auto-ext watch` as it is in the test machine, for the README
    Picture(picture::Arguments),
    /// Measure, and print ratios
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            command::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::setup()?,
        Task::Build => ebpf::build()?,
        Task::BuildEbpf => ebpf::build_ebpf()?,
        Task::Test(arguments) => return test::test(&arguments),
        Task::Fuzz(arguments) => fuzz::fuzz(&arguments)?,
        Task::Dist => dist::dist()?,
        Task::Advisories => test::advisories()?,
        Task::Vm(arguments) => return vm::vm(&arguments),
        Task::Demo(arguments) => return demo::demo(&arguments),
        Task::Picture(arguments) => return picture::picture(&arguments),
        Task::Bench(arguments) => return bench::bench(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}
