//! The command `auto-ext-smt`.

use std::process::ExitCode;

fn main() -> ExitCode {
    auto_ext_smt::cli::main()
}
