//! The commands that ask the service, and the service itself.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config;
use crate::daemon::Entry;
use crate::daemon::bus::{NAME, PATH};
use crate::daemon::request::MAX_PAUSE;
use crate::daemon::run::{LOCK, run};
use crate::daemon::status::Status;
use crate::daemon::work::{Configuration, Connect, Daemon, Places};
use crate::host::Host;
use crate::kernel::make_room;
use crate::whose;
use anyhow::Context as _;
use auto_ext_bus::client::{Ask, Client, Service};
use auto_ext_bus::join::BusKind;
use auto_ext_service::clock::utc;
use auto_ext_service::daemon_lock::{DAEMON, DaemonLock, LockError};
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;
use auto_ext_service::{affinity_owner, duration};
use clap::Subcommand;
use tracing_subscriber::EnvFilter;

use super::check::read;

/// The directories of the service.
const STATE: &str = "/var/lib/auto-ext-vm";
const RUN: &str = "/run/auto-ext-vm";
const ROOT: &str = "/";

const SERVICE: Service = Service {
    name: NAME,
    path: PATH,
    unit: "auto-ext-vm",
};

/// What can be asked of the service.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the service
    Daemon {
        /// The configuration; where there is none, nothing is changed
        #[arg(long, value_name = "F", default_value = config::PATH)]
        config: PathBuf,
        /// The D-Bus bus on which to be reached
        #[arg(long, value_enum, default_value = "system")]
        bus: BusKind,
    },
    /// Show what is done about the guests of this host, and why; exit code 3 when the service does not run
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Explain what is done about one guest
    Why {
        /// Its name or its UUID
        guest: String,
    },
    /// Show what was done, the newest last
    History {
        /// As JSON, one object per line
        #[arg(long)]
        json: bool,
        /// How many entries
        #[arg(short = 'n', value_name = "N", default_value_t = 20)]
        count: u32,
    },
    /// Print what is counted and measured, for Prometheus
    Metrics,
    /// Change nothing until `resume`, also after a restart
    Pause {
        /// For how long, such as 30m
        #[arg(long = "for", value_name = "TIME", value_parser = pause_time)]
        lasts: Option<Duration>,
    },
    /// End a pause, and go on where pins did no good or a guest was lost
    Resume,
    /// Leave a guest alone, also when it is started again
    Exclude {
        /// Its name
        guest: String,
        /// Do not leave it alone any more
        #[arg(long)]
        undo: bool,
    },
    /// Put back what was found, of a guest or of all, and leave it so as long as they run
    Release {
        /// Its name or its UUID; all guests if it is not given
        guest: Option<String>,
    },
}

/// A pause of whole seconds.
fn pause_time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=MAX_PAUSE).contains(&time) {
        Ok(time)
    } else {
        Err("must be from 1s to 30d".to_owned())
    }
}

/// Does what the command says.
pub(super) fn perform(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Command::Daemon { config, bus } = command {
        return daemon(config, *bus);
    }
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    runtime.block_on(ask(command, out))
}

async fn ask(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    let client = Client::connect(SERVICE).await?;
    match command {
        Command::Daemon { .. } => Ok(()),
        Command::Status { json } => {
            let text: String = client.call_as(Ask::Nobody, "Status", &()).await?;
            if *json {
                return Ok(writeln!(out, "{text}")?);
            }
            let status: Status = serde_json::from_str(&text)?;
            for line in status.lines() {
                writeln!(out, "{}", sanitize(&line))?;
            }
            Ok(())
        }
        Command::Why { guest } => {
            let text: String = client.call_as(Ask::Nobody, "Why", guest).await?;
            for line in text.lines() {
                writeln!(out, "{}", sanitize(line))?;
            }
            Ok(())
        }
        Command::History { json, count } => {
            let text: String = client.call_as(Ask::Nobody, "History", count).await?;
            let entries: Vec<Entry> = serde_json::from_str(&text)?;
            for entry in entries {
                if *json {
                    writeln!(out, "{}", serde_json::to_string(&entry)?)?;
                } else {
                    writeln!(out, "{}  {}", utc(entry.at), sanitize(&entry.text))?;
                }
            }
            Ok(())
        }
        Command::Metrics => {
            let text: String = client.call_as(Ask::Nobody, "Metrics", &()).await?;
            Ok(out.write_all(text.as_bytes())?)
        }
        Command::Pause { lasts } => {
            let seconds = lasts.map_or(0, |lasts| lasts.as_secs());
            let seconds = u32::try_from(seconds).context("too long a pause")?;
            client.call_as(Ask::Person, "Pause", &seconds).await
        }
        Command::Resume => client.call_as(Ask::Person, "Resume", &()).await,
        Command::Exclude { guest, undo } => {
            let method = if *undo { "Include" } else { "Exclude" };
            client.call_as(Ask::Person, method, guest).await
        }
        Command::Release { guest } => {
            let guest = guest.clone().unwrap_or_default();
            client.call_as(Ask::Person, "Release", &guest).await
        }
    }
}

fn daemon(path: &Path, bus: BusKind) -> anyhow::Result<()> {
    log();
    let places = Places {
        state: STATE.into(),
        run: RUN.into(),
        affinity: affinity_owner::DIRECTORY.into(),
        root: ROOT.into(),
    };
    let lock = match DaemonLock::take("auto-ext-vm", DAEMON, &places.run.join(LOCK)) {
        Err(error @ LockError::File { .. }) if !nix::unistd::geteuid().is_root() => {
            let message = format!("the service has to run as root: {error}");
            return Err(WithCode::error(Code::NotPermitted, message));
        }
        other => other?,
    };
    let path = path.to_owned();
    let configuration: Configuration = Box::new(move || match read(&path) {
        Ok(Some(checked)) => Ok(checked.settings),
        Ok(None) => {
            tracing::info!("there is no {}: nothing is changed", path.display());
            Ok(config::Settings::default())
        }
        Err(error) => Err(format!("{error:#}")),
    });
    let connect: Connect<Box<dyn Host + Send>> = Box::new(|settings| {
        let root = Path::new(ROOT);
        Ok(whose::host(&settings.qmp, root, settings.interval))
    });
    make_room();
    run(Daemon::new(configuration, places, connect), bus, lock)
}

/// Logs to standard error, which systemd takes to the journal.
fn log() {
    let filter = EnvFilter::try_from_env("AUTO_EXT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .init();
}
