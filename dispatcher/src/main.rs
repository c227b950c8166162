//! The command `auto-ext`.

use std::process::ExitCode;

fn main() -> ExitCode {
    auto_ext_dispatcher::cli::main()
}
