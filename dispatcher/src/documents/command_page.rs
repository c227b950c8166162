//! auto-ext(1): one page with every subcommand and its options, from the definition of the command
//! line. Only what that does not know, such as files, is written here.

use std::io;

use auto_ext_dispatcher::cli;
use auto_ext_pages::{Beside, tagged};
use clap_mangen::roff::{Roff, bold, roman};

/// The page in roff.
pub(crate) fn page() -> io::Result<Vec<u8>> {
    let beside = Beside {
        description: service(),
        files: files(),
        environment: environment(),
        see_also: &[
            ("auto-ext-policies", 5),
            ("systemctl", 1),
            ("journalctl", 1),
            ("busctl", 1),
        ],
    };
    auto_ext_pages::page(cli::command(), &beside)
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

#[cfg(test)]
mod tests {
    use auto_ext_pages::is_documented;

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
}
