//! Writes the manual pages, one for each subcommand, and the shells' completions of scx_foresight, below the directory of the one
//! argument as they are to be below a `share` directory. Both follow from the definition of the command line.

#[path = "../src/options.rs"]
mod options;

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

/// Where each shell looks for what completes a command. zsh does in both places, but for Debian's, which leaves out the first.
const COMPLETIONS: [(Shell, &str); 4] = [
    (Shell::Bash, "bash-completion/completions/scx_foresight"),
    (Shell::Fish, "fish/vendor_completions.d/scx_foresight.fish"),
    (Shell::Zsh, "zsh/site-functions/_scx_foresight"),
    (Shell::Zsh, "zsh/vendor-completions/_scx_foresight"),
];

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let directory = arguments.next().map(PathBuf::from);
    let directory = directory
        .filter(|_| arguments.next().is_none())
        .context("usage: documents DIRECTORY")?;
    for (name, page) in pages()? {
        write(&directory, &format!("man/man1/{name}"), &page)?;
    }
    for (shell, path) in COMPLETIONS {
        write(&directory, path, &completions(shell))?;
    }
    Ok(())
}

/// The pages in roff, by the names of their files: the program's, and one of each subcommand.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut command = options::Cli::command().disable_help_subcommand(true);
    // Fills in what subcommands have from their parent, such as their full names.
    command.build();
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();
    let page = |command: Command| {
        let command = command.mut_args(|argument| match argument.is_last_set() {
            // Which has to be typed.
            true => argument.value_name("-- COMMAND"),
            false => argument,
        });
        // No date, so that a page follows from the sources alone; roff takes an empty word for none.
        let man = Man::new(command).date("\"\"");
        let mut page = Vec::new();
        man.render(&mut page)?;
        Ok((man.get_filename(), page))
    };
    [command].into_iter().chain(subcommands).map(page).collect()
}

/// The script with which `shell` completes the command.
fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = options::Cli::command();
    generate(shell, &mut command, "scx_foresight", &mut script);
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
    fn there_is_a_page_of_every_subcommand_with_every_option() {
        let pages = pages().unwrap();
        let text = |name: &str| {
            let found = pages.iter().find(|(page, _)| page == name);
            let (_, page) = found.unwrap_or_else(|| panic!("no {name}"));
            String::from_utf8(page.clone()).unwrap()
        };
        let whole = text("scx_foresight.1");
        assert!(whole.contains("2 bad usage"), "{whole}");
        let command = options::Cli::command();
        let mut options = 0;
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            assert!(
                whole.contains(&format!(r"scx_foresight\-{name}(1)")),
                "{name}"
            );
            let page = text(&format!("scx_foresight-{name}.1"));
            for option in subcommand.get_arguments().filter_map(|a| a.get_long()) {
                let option = format!(r"\-\-{}", option.replace('-', r"\-"));
                assert!(page.contains(&option), "no {option} in {page}");
                options += 1;
            }
        }
        assert!(options > 15, "{options}");
        let collect = text("scx_foresight-collect.1");
        assert!(collect.contains(r"[\fI\-\- COMMAND\fR]"), "{collect}");
    }

    #[test]
    fn every_shell_completes_every_subcommand() {
        let command = options::Cli::command();
        for (shell, path) in COMPLETIONS {
            let script = String::from_utf8(completions(shell)).unwrap();
            for subcommand in command.get_subcommands() {
                let name = subcommand.get_name();
                assert!(script.contains(name), "no {name} in {path}");
            }
        }
    }
}
