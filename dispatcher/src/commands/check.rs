//! `auto-ext check`: is this policy valid?

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::policy::Policy;

/// Prints every problem as `F:LINE:COL: error: ...` on standard error, or that there is none.
pub(crate) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    match Policy::load(path) {
        Ok(policy) => {
            let rules = policy.rules.len();
            writeln!(io::stdout(), "{}: valid, {rules} rules", path.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            writeln!(io::stderr(), "{error}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
