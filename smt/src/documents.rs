//! Writes the manual page and the shells' completions of `auto-ext-smt`, from the definition of its command line, below the
//! directory of the one argument as they are to be below a `share` directory. Run by the build, installed nowhere.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result};
use auto_ext_smt::{affinity, cli, config, store};
use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

const NAME: &str = "auto-ext-smt";
/// Where each shell looks for what completes a command; zsh does in both places, but for Debian's, which leaves out the first.
const COMPLETIONS: [(Shell, &str); 4] = [
    (Shell::Bash, "bash-completion/completions/auto-ext-smt"),
    (Shell::Fish, "fish/vendor_completions.d/auto-ext-smt.fish"),
    (Shell::Zsh, "zsh/site-functions/_auto-ext-smt"),
    (Shell::Zsh, "zsh/vendor-completions/_auto-ext-smt"),
];

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let directory = arguments.next().map(PathBuf::from);
    let directory = directory
        .filter(|_| arguments.next().is_none())
        .context("usage: auto-ext-smt-documents DIRECTORY")?;
    write(&directory, "man/man1/auto-ext-smt.1", &page()?)?;
    for (shell, path) in COMPLETIONS {
        let mut script = Vec::new();
        generate(shell, &mut cli::command(), NAME, &mut script);
        write(&directory, path, &script)?;
    }
    Ok(())
}

/// One page with every subcommand and its options.
fn page() -> io::Result<Vec<u8>> {
    let mut command = cli::command();
    // Fills in what subcommands have from their parent, such as their full names.
    command.build();
    // No date, so that the page follows from the sources alone; roff takes an empty word for none.
    let man = Man::new(command.clone()).date("\"\"");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for subcommand in command.get_subcommands().filter(|one| is_documented(one)) {
        section(&mut page, subcommand)?;
    }
    man.render_options_section(&mut page)?;
    files().to_writer(&mut page)?;
    man.render_extra_section(&mut page)?;
    Ok(page)
}

fn is_documented(command: &Command) -> bool {
    // `help` is clap's own and explains itself.
    !command.is_hide_set() && command.get_name() != "help"
}

/// A subcommand: how it is called, what it does, its options.
fn section(page: &mut Vec<u8>, command: &Command) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or_default();
    // As it stands a `-` is a hyphen, which is not what is to be typed.
    writeln!(page, ".SS \"{}\"", name.replace('-', r"\-"))?;
    // Every subcommand has them, so they are not listed with each.
    let command = command.clone().mut_args(|argument| {
        let of_all = ["help", "state", "run"].contains(&argument.get_id().as_str());
        if of_all {
            argument.hide(true)
        } else {
            argument
        }
    });
    let man = Man::new(command);
    let mut lines = Vec::new();
    man.render_description_section(&mut lines)?;
    man.render_options_section(&mut lines)?;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        // The preamble and the headings that come with each.
        let framing: [&[u8]; 3] = [b".ie ", b".el ", b".SH "];
        if !framing.iter().any(|start| line.starts_with(start)) {
            page.extend(line);
        }
    }
    Ok(())
}

fn files() -> Roff {
    let mut text = Roff::new();
    text.control("SH", ["FILES"]);
    for (file, meaning) in [
        (
            config::FILE,
            "The configuration. Without it nothing is placed.",
        ),
        (
            store::DIRECTORY,
            "What is known of jobs, and what came of trials.",
        ),
        (
            affinity::DIRECTORY,
            "What was placed, for as long as it is; whoever comes later undoes it by that.",
        ),
    ] {
        text.control("TP", []);
        text.text([bold(file)]);
        text.text([roman(meaning)]);
    }
    text
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
    fn the_page_has_every_subcommand_and_every_option() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        let mut command = cli::command();
        command.build();
        for subcommand in command.get_subcommands().filter(|one| is_documented(one)) {
            let name = subcommand.get_name().replace('-', r"\-");
            let heading = format!(".SS \"auto\\-ext\\-smt {name}\"");
            assert!(page.contains(&heading), "no {heading} in {page}");
            for argument in subcommand.get_arguments() {
                let option = argument.get_long().unwrap_or_default();
                let option = option.replace('-', r"\-");
                assert!(page.contains(&option), "no --{option} in {page}");
            }
        }
    }

    #[test]
    fn what_is_written_about_the_command_exists() {
        let mut command = cli::command();
        command.build();
        let mut written = 0;
        for text in [
            include_str!("../../README.md"),
            include_str!("../../smt.yaml"),
        ] {
            for line in text.split('`').skip(1).step_by(2) {
                let line = line.trim_start_matches("sudo ");
                let Some(line) = line.strip_prefix("auto-ext-smt ") else {
                    continue;
                };
                let name = line.split_whitespace().next().unwrap_or_default();
                let found = command.find_subcommand(name);
                assert!(found.is_some(), "`auto-ext-smt {line}`");
                written += 1;
            }
        }
        assert!(written > 4, "{written}");
    }
}
