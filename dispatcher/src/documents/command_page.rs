//! auto-ext(1): one page with every subcommand and its options, from the definition of the command
//! line. Only what that does not know, such as files, is written here.

use std::io::{self, Write};

use auto_ext_dispatcher::cli;
use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

/// The page in roff.
pub(crate) fn page() -> io::Result<Vec<u8>> {
    let mut command = cli::command();
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
    page.add(|out| service().to_writer(out))?;
    page.section("COMMANDS", |_| Ok(()))?;
    for subcommand in command.get_subcommands().filter(|c| is_documented(c)) {
        page.subcommand(subcommand)?;
    }
    page.section("OPTIONS", |out| man.render_options_section(out))?;
    page.section("EXIT STATUS", |out| man.render_extra_section(out))?;
    page.section("FILES", |out| files().to_writer(out))?;
    page.section("ENVIRONMENT", |out| environment().to_writer(out))?;
    page.section("SEE ALSO", |out| see_also().to_writer(out))?;
    Ok(page.0)
}

fn is_documented(command: &Command) -> bool {
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

/// What the description adds about the service.
fn service() -> Roff {
    let mut text = Roff::new();
    text.control("PP", []);
    text.text([
        roman("The service measures the load; the policy, "),
        bold("auto-ext-policies"),
        roman("(5), names it and says what is to run. What runs is always asked of the kernel. "),
        bold("systemctl enable --now auto-ext"),
        roman(" starts the service, now and at every boot; while it is stopped, and when none of the "),
        roman("schedulers that are wanted can run, the kernel's own does. Programs ask it over D-Bus: "),
        bold("busctl introspect org.autoext.AutoExt1 /org/autoext/AutoExt1"),
        roman("."),
    ]);
    text.control("PP", []);
    text.text([
        roman("Where "),
        bold("metrics"),
        roman(" in the policy has it listen, it answers by HTTP: with metrics at "),
        bold("/metrics"),
        roman(", and at "),
        bold("/"),
        roman(" with a page for browsers that shows what "),
        bold("auto-ext watch"),
        roman(" does: "),
        bold("curl --unix-socket /run/auto-ext/metrics.sock http://localhost/"),
        roman("."),
    ]);
    text
}

fn files() -> Roff {
    let mut text = Roff::new();
    let shipped = "/usr/share/auto-ext/policies.yaml";
    tagged(&mut text, cli::POLICY, "The policy.");
    tagged(&mut text, shipped, "The policy as it was shipped.");
    let schema = "/usr/share/auto-ext/policies.schema.json";
    tagged(&mut text, schema, "What a policy may contain, for editors.");
    let meaning = "What outlives the machine: history, failures, boots, what trials found.";
    tagged(&mut text, "/var/lib/auto-ext", meaning);
    let meaning =
        "What outlives the daemon: counters; the sockets of metrics; the lock of the one daemon.";
    tagged(&mut text, "/run/auto-ext", meaning);
    text
}

fn environment() -> Roff {
    let mut text = Roff::new();
    let meaning = "What the daemon logs: error, warn, info (the default), debug or trace.";
    tagged(&mut text, "AUTO_EXT_LOG", meaning);
    let meaning = "Whatever it says: no colours, not even on a terminal.";
    tagged(&mut text, "NO_COLOR", meaning);
    text
}

fn tagged(text: &mut Roff, tag: &str, meaning: &str) {
    text.control("TP", []);
    text.text([bold(tag)]);
    text.text([roman(meaning)]);
}

fn see_also() -> Roff {
    let pages = [
        ("auto-ext-policies", "(5), "),
        ("systemctl", "(1), "),
        ("journalctl", "(1), "),
        ("busctl", "(1)"),
    ];
    let words = pages.map(|(page, section)| [bold(page), roman(section)]);
    let mut text = Roff::new();
    text.text(words.into_iter().flatten().collect::<Vec<Inline>>());
    text
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    #[test]
    fn the_page_has_every_subcommand_and_every_option() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        let mut command = cli::command();
        command.build();
        for subcommand in command.get_subcommands().filter(|c| is_documented(c)) {
            let heading = format!(
                ".SS \"auto\\-ext {}",
                subcommand.get_name().replace('-', r"\-")
            );
            assert!(page.contains(&heading), "no {heading} in {page}");
            for argument in subcommand.get_arguments().filter(|a| !a.is_hide_set()) {
                let option = argument.get_long().unwrap_or_default();
                let option = option.replace('-', r"\-");
                assert!(page.contains(&option), "no --{option} in {page}");
            }
        }
    }

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
