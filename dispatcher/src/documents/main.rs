//! Writes the manual pages and the shells' completions, below the directory of the one argument as
//! they are to be below a `share` directory. Run by the build, installed nowhere.
//!
//! `command_page` and the completions are made from the definition of the command line, `policies_page` from the comments
//! of the shipped policy.

mod command_page;
mod policies_page;

use anyhow::Result;
use auto_ext_dispatcher::cli;
use auto_ext_pages::{directory, write, write_completions};

fn main() -> Result<()> {
    let directory = directory()?;
    write(&directory, "man/man1/auto-ext.1", &command_page::page()?)?;
    let page = policies_page::page();
    write(&directory, "man/man5/auto-ext-policies.5", page.as_bytes())?;
    write_completions(&directory, &mut cli::command())
}

#[cfg(test)]
mod tests {
    use auto_ext_pages::completions;
    use clap_complete::Shell;

    use super::*;

    /// As far as a text can tell: subcommands and options.
    #[test]
    fn every_command_that_is_written_about_exists() {
        let texts = [
            include_str!("../../../README.md"),
            include_str!("../../../docs/manual.md"),
            include_str!("../../../ARCHITECTURE.md"),
            include_str!("../../../CHANGELOG.md"),
            include_str!("../../../docs/faults.md"),
            include_str!("../../../policies.yaml"),
            include_str!("../../../install.sh"),
        ];
        let mut command = cli::command();
        command.build();
        let mut written = 0;
        for text in texts {
            let in_words = text.split("\n\n").flat_map(|paragraph| {
                let words = paragraph.split('`').skip(1).step_by(2);
                words.map(|words| words.replace('\n', " ").replace(" #", ""))
            });
            let in_blocks = text
                .lines()
                .filter_map(|line| Some(line.strip_prefix("    $ ")?.to_owned()));
            for line in in_words.chain(in_blocks) {
                let line = line.trim_start_matches("sudo ");
                let Some(line) = line.strip_prefix("auto-ext ") else {
                    continue;
                };
                let mut words = line.split(|c: char| c.is_whitespace() || "[],|".contains(c));
                let name = words.next().unwrap_or_default();
                let found = command.find_subcommand(name);
                let subcommand = found.unwrap_or_else(|| panic!("`auto-ext {line}`"));
                written += 1;
                for word in words.take_while(|word| *word != "--") {
                    let mut arguments = subcommand.get_arguments();
                    let known = match (word.strip_prefix("--"), word.strip_prefix('-')) {
                        (Some(long), _) => arguments.any(|a| a.get_long() == Some(long)),
                        (_, Some(short)) => {
                            arguments.any(|a| a.get_short() == short.chars().next())
                        }
                        (None, None) => true,
                    };
                    assert!(known, "{word} of `auto-ext {line}`");
                }
            }
        }
        assert!(written > 40, "{written}");
    }

    #[test]
    fn bash_knows_what_to_do_in_every_subcommand() {
        let script = String::from_utf8(completions(Shell::Bash, &mut cli::command())).unwrap();
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
