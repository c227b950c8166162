//! Manual pages and the shells' completions, from the definition of a command line. What that does not know, such as files, is said by
//! who has the command. And which commands other texts write about (`mentioned`).

mod mentioned;

pub use mentioned::mentioned;

use std::io::{self, Write};
use std::path::Path;
use std::{env, fs};

use anyhow::{Context as _, Result};
use clap::{Arg, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

/// Where each shell looks for what completes a command. zsh does in both places, but for Debian's,
/// which leaves out the first.
const COMPLETIONS: [(Shell, &str, &str); 4] = [
    (Shell::Bash, "bash-completion/completions/", ""),
    (Shell::Fish, "fish/vendor_completions.d/", ".fish"),
    (Shell::Zsh, "zsh/site-functions/_", ""),
    (Shell::Zsh, "zsh/vendor-completions/_", ""),
];

/// What a page has beside what the command line says.
#[derive(Debug)]
pub struct Beside {
    /// What the description adds.
    pub description: Roff,
    /// Files.
    pub files: Roff,
    /// Variables of the environment.
    pub environment: Roff,
    /// Other pages, with their sections.
    pub see_also: &'static [(&'static str, u8)],
}

/// The directory below which documents are to be written: the one argument of the program.
///
/// # Errors
/// When there is none, or more.
pub fn directory() -> Result<std::path::PathBuf> {
    let mut arguments = env::args_os().skip(1);
    let directory = arguments.next().map(std::path::PathBuf::from);
    directory
        .filter(|_| arguments.next().is_none())
        .context("the one argument is a directory")
}

/// Writes a command's completions below `directory`, as they are to be below a `share` directory.
///
/// # Errors
/// When that cannot be done.
pub fn write_completions(directory: &Path, command: &mut Command) -> Result<()> {
    for (shell, before, after) in COMPLETIONS {
        let path = format!("{before}{}{after}", command.get_name());
        write(directory, &path, &completions(shell, command))?;
    }
    Ok(())
}

/// The script with which `shell` completes the command.
#[must_use]
pub fn completions(shell: Shell, command: &mut Command) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, command, name, &mut script);
    script
}

/// Writes a file below `directory`, which is made.
///
/// # Errors
/// When that cannot be done.
pub fn write(directory: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let path = directory.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The page in roff: every subcommand and its options.
///
/// # Errors
/// None, as it is written into memory.
pub fn page(mut command: Command, beside: &Beside) -> io::Result<Vec<u8>> {
    // Fills in what subcommands have from their parent, such as their full names.
    command.build();
    // No date, so that the page follows from the sources alone; roff takes an empty word for none.
    let man = Man::new(command.clone()).date("\"\"");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    let mut page = Page(page);
    page.section("NAME", |out| man.render_name_section(out))?;
    page.section("SYNOPSIS", |out| man.render_synopsis_section(out))?;
    page.section("DESCRIPTION", |out| man.render_description_section(out))?;
    page.add(|out| beside.description.to_writer(out))?;
    page.section("COMMANDS", |_| Ok(()))?;
    for subcommand in command.get_subcommands().filter(|c| is_documented(c)) {
        page.subcommand(subcommand)?;
    }
    page.section("OPTIONS", |out| man.render_options_section(out))?;
    page.section("EXIT STATUS", |out| man.render_extra_section(out))?;
    page.section("FILES", |out| beside.files.to_writer(out))?;
    page.section("ENVIRONMENT", |out| beside.environment.to_writer(out))?;
    page.section("SEE ALSO", |out| see_also(beside.see_also).to_writer(out))?;
    Ok(page.0)
}

/// Whether the page has it.
#[must_use]
pub fn is_documented(command: &Command) -> bool {
    // `help` is clap's own and explains itself.
    !command.is_hide_set() && command.get_name() != "help"
}

/// A page as far as it is written.
struct Page(Vec<u8>);

impl Page {
    fn section(
        &mut self,
        heading: &str,
        body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        writeln!(self.0, ".SH {heading}")?;
        self.add(body)
    }

    /// Adds what `body` writes, without the preamble and the heading that come with it.
    fn add(&mut self, body: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut lines = Vec::new();
        body(&mut lines)?;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let framing: [&[u8]; 3] = [b".ie ", b".el ", b".SH "];
            if !framing.iter().any(|start| line.starts_with(start)) {
                self.0.extend(line);
            }
        }
        Ok(())
    }

    fn subcommand(&mut self, command: &Command) -> io::Result<()> {
        // Every subcommand has it, so it is not listed with each.
        let command = command.clone().mut_arg("help", |help| help.hide(true));
        // As it stands a `-` is a hyphen, which is not what is to be typed.
        writeln!(self.0, ".SS \"{}\"", usage(&command).replace('-', r"\-"))?;
        let man = Man::new(command);
        self.add(|out| man.render_description_section(out))?;
        self.add(|out| man.render_options_section(out))
    }
}

/// What can be typed: `auto-ext levels [--json] [--window <TIME>]`.
fn usage(command: &Command) -> String {
    let mut line = command.get_bin_name().unwrap_or_default().to_owned();
    for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
        line.push(' ');
        line.push_str(&usage_word(argument));
    }
    line
}

fn usage_word(argument: &Arg) -> String {
    let shown = argument.to_string();
    match (argument.is_last_set(), argument.is_required_set()) {
        (true, true) => format!("-- {shown}"),
        (true, false) => format!("[-- {shown}]"),
        // A positional one has its brackets already.
        (false, false) if !argument.is_positional() => format!("[{shown}]"),
        _ => shown,
    }
}

/// Adds what something means.
pub fn tagged(text: &mut Roff, tag: &str, meaning: &str) {
    text.control("TP", []);
    text.text([bold(tag)]);
    text.text([roman(meaning)]);
}

fn see_also(pages: &[(&str, u8)]) -> Roff {
    let mut words: Vec<Inline> = Vec::new();
    for (page, section) in pages {
        let before = if words.is_empty() { "" } else { ", " };
        words.extend([roman(before), bold(*page), roman(format!("({section})"))]);
    }
    let mut text = Roff::new();
    text.text(words);
    text
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    #[test]
    fn a_usage_line_shows_what_may_be_left_out() {
        let mut command = Command::new("pin")
            .bin_name("auto-ext pin")
            .disable_help_flag(true)
            .arg(Arg::new("name").required(true).value_name("NAME"))
            .arg(Arg::new("for").long("for").value_name("TIME"))
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue))
            .arg(Arg::new("args").last(true).num_args(0..).value_name("ARGS"));
        command.build();
        assert_eq!(
            usage(&command),
            "auto-ext pin <NAME> [--for <TIME>] [--json] [-- [ARGS]...]"
        );
    }
}
