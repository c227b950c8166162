//! Writes the manual page and the shells' completions, below the directory of the one argument as they are to be below a `share`
//! directory. Run by the build, installed nowhere.

use anyhow::Result;
use auto_ext_pages::{Beside, directory, page, tagged, write, write_completions};
use auto_ext_service::affinity_owner;
use auto_ext_vm::{cli, config};
use clap_mangen::roff::{Roff, bold, roman};

fn main() -> Result<()> {
    let directory = directory()?;
    let page = page(cli::command(), &beside())?;
    write(&directory, "man/man1/auto-ext-vm.1", &page)?;
    write_completions(&directory, &mut cli::command())
}

fn beside() -> Beside {
    Beside {
        description: service(),
        files: files(),
        environment: environment(),
        see_also: &[
            ("auto-ext", 1),
            ("virsh", 1),
            ("systemctl", 1),
            ("busctl", 1),
        ],
    }
}

/// What the description adds about the service.
fn service() -> Roff {
    let mut text = Roff::new();
    text.control("PP", []);
    text.text([
        roman("As it is shipped the service changes nothing and says what it would do: "),
        bold("auto-ext-vm status"),
        roman(". The configuration says what it may do. "),
        bold("systemctl enable --now auto-ext-vm"),
        roman(" starts it, now and at every boot; when it is stopped it puts back every pin, and when it is killed its next start does. "),
        roman("Memory that was given or taken stays so. Programs ask it over D-Bus: "),
        bold("busctl introspect org.autoext.Vm1 /org/autoext/Vm1"),
        roman("."),
    ]);
    text
}

fn files() -> Roff {
    let mut text = Roff::new();
    tagged(&mut text, config::PATH, "The configuration.");
    let shipped = "/usr/share/auto-ext-vm/vm.yaml";
    tagged(&mut text, shipped, "The configuration as it was shipped.");
    let schema = "/usr/share/auto-ext-vm/vm.schema.json";
    tagged(
        &mut text,
        schema,
        "What a configuration may contain, for editors.",
    );
    let meaning =
        "History, what persons said, and what guests were like before anything was changed.";
    tagged(&mut text, "/var/lib/auto-ext-vm", meaning);
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
            let heading = format!(".SS \"auto\\-ext\\-vm {}", subcommand.get_name());
            assert!(page.contains(&heading), "no {heading} in {page}");
        }
    }

    #[test]
    fn every_command_that_is_written_about_exists() {
        let texts = [
            include_str!("../../../README.md"),
            include_str!("../../../docs/manual.md"),
            include_str!("../../../CHANGELOG.md"),
            include_str!("../../../vm.yaml"),
            include_str!("../../../install.sh"),
        ];
        let command = cli::command();
        let mut written = 0;
        for name in texts.iter().flat_map(|text| mentioned(text, "auto-ext-vm")) {
            let is_there = command.find_subcommand(name).is_some();
            assert!(is_there, "auto-ext-vm {name}");
            written += 1;
        }
        assert!(written > 10, "{written}");
    }
}
