//! Writes the manual pages and the shells' completions, below the directory of the one argument as
//! they are to be below a `share` directory. Run by the build, installed nowhere.
//!
//! Nothing is said twice: `command_page` and the completions follow from the definition of the
//! command line, `policies_page` from the comments of the shipped policy.

mod command_page;
mod policies_page;

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result};
use auto_ext_dispatcher::cli;
use clap_complete::{Shell, generate};

/// Where each shell looks for what completes a command. zsh does in both places, but for Debian's,
/// which leaves out the first.
const COMPLETIONS: &[(Shell, &str)] = &[
    (Shell::Bash, "bash-completion/completions/auto-ext"),
    (Shell::Fish, "fish/vendor_completions.d/auto-ext.fish"),
    (Shell::Zsh, "zsh/site-functions/_auto-ext"),
    (Shell::Zsh, "zsh/vendor-completions/_auto-ext"),
];

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let directory = arguments.next().map(PathBuf::from);
    let directory = directory
        .filter(|_| arguments.next().is_none())
        .context("usage: auto-ext-documents DIRECTORY")?;
    write(&directory, "man/man1/auto-ext.1", &command_page::page()?)?;
    let page = policies_page::page();
    write(&directory, "man/man5/auto-ext-policies.5", page.as_bytes())?;
    for (shell, path) in COMPLETIONS {
        write(&directory, path, &completions(*shell))?;
    }
    Ok(())
}

/// The script with which `shell` completes the command.
fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut cli::command(), "auto-ext", &mut script);
    script
}

fn write(directory: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let path = directory.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_knows_what_to_do_in_every_subcommand() {
        let script = String::from_utf8(completions(Shell::Bash)).unwrap();
        let states: Vec<&str> = script
            .lines()
            .filter_map(|line| line.trim().strip_prefix("cmd=\"")?.strip_suffix('"'))
            .filter(|state| !state.is_empty())
            .collect();
        assert!(states.len() > 5, "{script}");
        for state in states {
            let arm = format!("{state})");
            let arms = script.lines().filter(|line| line.trim() == arm).count();
            assert_eq!(arms, 1, "{arm} in {script}");
        }
    }
}
