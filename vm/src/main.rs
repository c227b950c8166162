//! The command `auto-ext-vm`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
