//! The command `auto-ext-smt`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
