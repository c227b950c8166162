//! The scheduler `scx_foresight`.

mod bpf;
mod llcs;
mod options;
mod run;
mod signals;

use std::io::{self, Write as _};
use std::process::ExitCode;

use auto_ext_service::exit_code::Code;
use auto_ext_service::sanitize::sanitize;
use clap::Parser as _;

use options::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(options)) => run::run(options),
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
