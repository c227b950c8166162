//! The scheduler `scx_foresight`.

mod answer;
mod bpf;
mod collect;
mod command;
mod considered;
mod gate;
mod learning;
mod llcs;
mod memory;
mod moves;
mod options;
mod run;
mod sample;
mod scores;
mod shared;
mod signals;
mod socket;
mod train;
mod trainer;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use auto_ext_service::exit_code::Code;
use auto_ext_service::sanitize::sanitize;
use clap::Parser as _;
use serde::de::DeserializeOwned;

use answer::{Stats, Why};
use options::{Cli, Command, Socket};
use socket::Question;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(options)) => run::run(options),
        Some(Command::Collect(options)) => run::collect(options),
        Some(Command::Train(options)) => train::train(options, &mut io::stdout().lock()),
        Some(Command::Export { file, format }) => {
            train::export(file, *format, &mut io::stdout().lock())
        }
        Some(Command::Stats {
            json,
            every,
            socket,
        }) => repeat(*every, || ask::<Stats>(socket, Question::Stats, *json)),
        Some(Command::Why { pid, json, socket }) => ask::<Why>(socket, Question::Why(*pid), *json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = sanitize(&format!("{error:#}"));
            // Where that cannot be said either there is nobody to say it to.
            let _ = writeln!(io::stderr(), "Error: {text}");
            ExitCode::from(Code::Failed as u8)
        }
    }
}

/// Does it once, or again and again until it fails.
fn repeat(every: Option<Duration>, once: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    once()?;
    let Some(every) = every else {
        return Ok(());
    };
    loop {
        thread::sleep(every);
        once()?;
    }
}

/// Prints what the running one answers.
fn ask<A: DeserializeOwned + Display>(
    socket: &Socket,
    question: Question,
    json: bool,
) -> anyhow::Result<()> {
    let place = socket.socket.clone().unwrap_or_else(socket::usual_place);
    let mut answer = socket::ask(&place, question)?;
    if !json {
        let read: A = serde_json::from_str(&answer).context("its answer is of another version")?;
        answer = read.to_string();
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}", answer.trim_end()).context("cannot write")
}
