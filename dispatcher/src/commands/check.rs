//! `auto-ext check`: is this policy valid? And what makes a policy valid, for editors.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::policy::{self, Checked};

/// Prints every problem as `F:LINE:COL: error: ...` on standard error, or that the policy is valid,
/// after a line `F:LINE:COL: warning: ...` for everything strange.
pub(crate) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    match Checked::load(path) {
        Ok(Checked { policy, warnings }) => {
            for warning in &warnings {
                writeln!(io::stderr(), "{warning}")?;
            }
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

/// Prints the JSON Schema of policies.
pub(crate) fn schema() -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{:#}", policy::json_schema())?;
    Ok(ExitCode::SUCCESS)
}
