//! The command `auto-ext-vm`.

use std::process::ExitCode;

fn main() -> ExitCode {
    auto_ext_vm::cli::main()
}
