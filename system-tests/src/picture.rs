//! What a picture of `auto-ext watch` is made of: its screen, while loads come and go.

use std::io::Write as _;
use std::thread::sleep;
use std::time::Duration;

use crate::load::{self, Load};
use crate::policy::ONE_PER_CLASS;
use crate::service::{self, Bus};
use crate::terminal::Terminal;
use crate::{kernel, wait};

/// The size of the terminal.
const SIZE: (u16, u16) = (100, 34);
/// How long each load goes on once its scheduler runs, and how long it is idle in between.
const SHOWN: Duration = Duration::from_secs(12);

/// Prints the screen, with the escape sequences that make it look as it does.
pub(crate) fn print() -> anyhow::Result<()> {
    let _server = load::prepare()?;
    ONE_PER_CLASS.install()?;
    service::restart()?;
    let bus = Bus::connect()?;
    wait::until("class", &"idle".to_owned(), || bus.string("Class"))?;
    let terminal = Terminal::open(SIZE.0, SIZE.1)?;
    terminal.line("auto-ext watch")?;
    terminal.wait_for("the policy decides")?;
    for class in ["network", "interactive"] {
        sleep(SHOWN);
        let load = Load::of_class(class).start()?;
        let scheduler = ONE_PER_CLASS.scheduler_for(class).to_owned();
        wait::until("scheduler", &scheduler, kernel::scheduler)?;
        sleep(SHOWN);
        if class == "interactive" {
            terminal.wait_for("scx_bpfland  started by auto-ext")?;
            write!(std::io::stdout(), "{}", terminal.screen_with_colours()?)?;
        }
        drop(load);
        wait::until("scheduler", &"kernel".to_owned(), kernel::scheduler)?;
    }
    Ok(())
}
