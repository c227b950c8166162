//! The service as its users meet it: systemd, D-Bus, the command line.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use serde_json::Value;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::SignalStream;
use zbus::{Connection, OwnedVariant, Proxy};

use crate::wait;

const NAME: &str = "org.autoext.AutoExt1";
const PATH: &str = "/org/autoext/AutoExt1";

/// Runs a command, given as words separated by spaces, and returns its output whatever its exit code.
pub(crate) fn output(command: &str) -> anyhow::Result<Output> {
    let mut words = command.split_whitespace();
    Command::new(words.next().unwrap_or_default())
        .args(words)
        .output()
        .with_context(|| format!("failed to run `{command}`"))
}

/// Runs a command that must succeed and returns what it says.
pub(crate) fn say(command: &str) -> anyhow::Result<String> {
    let output = output(command)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{command}`: {}: {text} {}",
        output.status,
        error.trim()
    );
    Ok(text)
}

/// Starts the service anew, with whatever policy is installed, and nothing held against any scheduler.
pub(crate) fn restart() -> anyhow::Result<()> {
    stop()?;
    match std::fs::remove_file("/var/lib/auto-ext/failures.json") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    // Not for the tests of restarting: they may do so more often than systemd likes.
    say("systemctl reset-failed auto-ext.service").ok();
    say("systemctl start auto-ext.service").map(drop)
}

/// Stops the service.
pub(crate) fn stop() -> anyhow::Result<()> {
    say("systemctl stop auto-ext.service").map(drop)
}

/// What the service says of itself and has logged last, for whoever reads that a test failed.
pub(crate) fn last_words() -> String {
    let said = [
        "auto-ext status",
        "journalctl --unit auto-ext --lines 10 --output cat",
    ]
    .map(|command| match output(command) {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => format!("{error:#}\n"),
    });
    said.concat()
}

/// Ends what a test that failed may have left: services of its own that run schedulers, with which the next one would fail too.
pub(crate) fn end_what_is_left() {
    for unit in ["by-hand", "scx", "scx_loader"] {
        // Most were never there.
        let _ = output(&format!("systemctl stop {unit}.service"));
    }
}

/// The service's main process.
pub(crate) fn process() -> anyhow::Result<String> {
    say("systemctl show --property=MainPID --value auto-ext.service")
}

/// What has another daemon take the place of one: in good order, and not.
pub(crate) const REPLACED_BY: [&str; 2] = [
    "systemctl restart auto-ext.service",
    "systemctl kill --signal=KILL auto-ext.service",
];

/// Does what ends the daemon such that systemd starts another, and waits for that.
pub(crate) fn replace(how: &str) -> anyhow::Result<()> {
    let daemon = process()?;
    say(how)?;
    wait::until("another daemon", &true, || {
        process().is_ok_and(|now| now != daemon && now != "0")
    })?;
    Ok(())
}

/// What of auto-ext and the schedulers is running, as `pgrep` lists it.
pub(crate) fn processes() -> anyhow::Result<Vec<String>> {
    let found = output("pgrep --list-full scx_|auto-ext$")?;
    let lines = String::from_utf8_lossy(&found.stdout).into_owned();
    // The kernel's own helper thread, [scx_enable_helper], stays.
    let lines = lines.lines().filter(|line| !line.ends_with(']'));
    Ok(lines.map(str::to_owned).collect())
}

/// The last entries of the history, the newest last.
pub(crate) fn history(count: usize) -> anyhow::Result<Vec<Value>> {
    let lines = say(&format!("auto-ext history --json -n {count}"))?;
    let entries = lines.lines().map(serde_json::from_str);
    Ok(entries.collect::<Result<_, _>>()?)
}

/// What `busctl` prints for a property, as the README shows it.
pub(crate) fn busctl(property: &str) -> anyhow::Result<String> {
    say(&format!(
        "busctl get-property {NAME} {PATH} {NAME} {property}"
    ))
}

/// The service on the bus, over one connection: a process per question would be a load of its own.
pub(crate) struct Bus {
    runtime: tokio::runtime::Runtime,
    proxy: PropertiesProxy<'static>,
}

/// The announcements of switches, from when it was made.
pub(crate) struct Switches(SignalStream<'static>);

/// A switch as it is announced.
pub(crate) struct Switched {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) gap_us: u64,
}

impl Bus {
    pub(crate) fn connect() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let proxy = runtime.block_on(async {
            let connection = Connection::system().await?;
            PropertiesProxy::builder(&connection)
                .destination(NAME)
                .path(PATH)
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await
        })?;
        Ok(Self { runtime, proxy })
    }

    /// A property that is a string; what went wrong when it cannot be had, which no property says.
    pub(crate) fn string(&self, property: &str) -> String {
        self.get(property)
            .and_then(|value| Ok(String::try_from(value)?))
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    /// A property that is a number.
    pub(crate) fn number(&self, property: &str) -> anyhow::Result<u64> {
        let value = self.get(property)?;
        u64::try_from(&value).or_else(|_| Ok(u64::from(u32::try_from(&value)?)))
    }

    fn get(&self, property: &str) -> anyhow::Result<OwnedVariant> {
        let interface = InterfaceName::try_from(NAME)?;
        Ok(self.runtime.block_on(self.proxy.get(interface, property))?)
    }
    /// Asks for one scheduler until something else is asked for; returns when that was accepted.
    pub(crate) fn pin(&self, scheduler: &str) -> anyhow::Result<()> {
        let arguments: [&str; 0] = [];
        self.runtime.block_on(async {
            let service = self.service().await?;
            let pinned: () = service
                .call("Pin", &(scheduler, arguments.as_slice(), 0_u32))
                .await?;
            Ok(pinned)
        })
    }

    /// Begins to listen for switches.
    pub(crate) fn switches(&self) -> anyhow::Result<Switches> {
        self.runtime.block_on(async {
            let service = self.service().await?;
            Ok(Switches(service.receive_signal("SchedulerSwitched").await?))
        })
    }

    /// The next switch, if one is announced in that time.
    pub(crate) fn next_switch(
        &self,
        switches: &mut Switches,
        limit: Duration,
    ) -> anyhow::Result<Option<Switched>> {
        self.runtime.block_on(async {
            let Ok(signal) = tokio::time::timeout(limit, switches.0.next()).await else {
                return Ok(None);
            };
            let signal = signal.context("the connection to the bus has ended")?;
            let body = signal.body();
            let (from, to, _reason, gap_us): (String, String, String, u64) = body.deserialize()?;
            Ok(Some(Switched { from, to, gap_us }))
        })
    }

    async fn service(&self) -> zbus::Result<Proxy<'static>> {
        Proxy::new(self.proxy.inner().connection(), NAME, PATH, NAME).await
    }
}
