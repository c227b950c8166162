//! `auto-ext reload`: the daemon reads its policy again.

use std::io::{self, Write};
use std::process::ExitCode;

use super::client::Client;

/// Asks for it; an invalid policy is an error and changes nothing.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let client = Client::connect().await?;
    let () = client.call("Reload", &()).await?;
    writeln!(io::stdout(), "the policy is in force")?;
    Ok(ExitCode::SUCCESS)
}
