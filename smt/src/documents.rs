//! Writes the manual page and the shells' completions of `auto-ext-smt`, below the directory of the one argument as they are to be
//! below a `share` directory. Run by the build, installed nowhere.

use anyhow::Result;
use auto_ext_pages::{Beside, directory, page, tagged, write, write_completions};
use auto_ext_service::affinity_owner;
use auto_ext_smt::{affinity, cli, config, store};
use clap_mangen::roff::{Roff, bold, roman};

fn main() -> Result<()> {
    let directory = directory()?;
    let page = page(cli::command(), &beside())?;
    write(&directory, "man/man1/auto-ext-smt.1", &page)?;
    write_completions(&directory, &mut cli::command())
}

fn beside() -> Beside {
    Beside {
        description: service(),
        files: files(),
        environment: environment(),
        see_also: &[("auto-ext", 1), ("systemctl", 1), ("busctl", 1)],
    }
}

/// What the description adds about the service.
fn service() -> Roff {
    let mut text = Roff::new();
    text.control("PP", []);
    text.text([
        roman("As it is shipped the service only observes. The configuration says whether it tries what promises to be better. "),
        bold("systemctl enable --now auto-ext-smt"),
        roman(" starts it, now and at every boot; however it ends, what it placed is undone. Programs ask it over D-Bus: "),
        bold("busctl introspect org.autoext.Smt1 /org/autoext/Smt1"),
        roman("."),
    ]);
    text
}

fn files() -> Roff {
    let mut text = Roff::new();
    let meaning = "The configuration. Without it nothing is placed.";
    tagged(&mut text, config::FILE, meaning);
    let shipped = "/usr/share/auto-ext-smt/smt.yaml";
    tagged(&mut text, shipped, "The configuration as it was shipped.");
    let schema = "/usr/share/auto-ext-smt/smt.schema.json";
    let meaning = "What a configuration may contain, for editors.";
    tagged(&mut text, schema, meaning);
    let meaning = "What is known of jobs, and what came of trials.";
    tagged(&mut text, store::DIRECTORY, meaning);
    let meaning = "What was placed, for as long as it is: whoever comes later undoes it by that.";
    tagged(&mut text, affinity::DIRECTORY, meaning);
    let meaning = "Which service decides where a process runs.";
    tagged(&mut text, affinity_owner::DIRECTORY, meaning);
    text
}

fn environment() -> Roff {
    let mut text = Roff::new();
    let meaning = "What the service logs: error, warn, info (the default), debug or trace.";
    tagged(&mut text, "AUTO_EXT_LOG", meaning);
    text
}

#[cfg(test)]
mod tests {
    use auto_ext_pages::mentioned;

    use super::*;

    #[test]
    fn the_page_has_every_subcommand() {
        let page = String::from_utf8(page(cli::command(), &beside()).unwrap()).unwrap();
        for subcommand in cli::command().get_subcommands() {
            let heading = format!(".SS \"auto\\-ext\\-smt {}", subcommand.get_name());
            assert!(page.contains(&heading), "no {heading} in {page}");
        }
    }

    #[test]
    fn every_command_that_is_written_about_exists() {
        let texts = [
            include_str!("../../README.md"),
            include_str!("../../docs/manual.md"),
            include_str!("../../CHANGELOG.md"),
            include_str!("../../smt.yaml"),
        ];
        let command = cli::command();
        let mut written = 0;
        for name in texts
            .iter()
            .flat_map(|text| mentioned(text, "auto-ext-smt"))
        {
            let is_there = command.find_subcommand(name).is_some();
            assert!(is_there, "auto-ext-smt {name}");
            written += 1;
        }
        assert!(written > 8, "{written}");
    }
}
