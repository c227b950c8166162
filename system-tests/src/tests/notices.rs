//! Notices on the desktop: the installed unit of the users, run as one who has no rights, and who shows notices.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zbus::{OwnedVariant, connection, interface};

use crate::policy::{self, QUIET};
use crate::service::{self, Bus};
use crate::{load, wait};

const UNIT: &str = "/usr/lib/systemd/user/auto-ext-notify.service";
/// The same for the system's systemd, as the machine has no sessions.
const AS_NOBODY: &str = "/run/systemd/system/auto-ext-notify.service";
const CONFIG: &str = "/tmp/session-bus.conf";
const SOCKET: &str = "/tmp/session-bus";

/// Who shows notices, and passes on what is shown: summary and body.
struct Desktop(mpsc::UnboundedSender<(String, String)>);

#[interface(name = "org.freedesktop.Notifications")]
impl Desktop {
    #[expect(clippy::too_many_arguments, reason = "so says the specification")]
    fn notify(
        &self,
        _app_name: &str,
        _replaces_id: u32,
        _app_icon: &str,
        summary: String,
        body: String,
        _actions: Vec<String>,
        _hints: BTreeMap<String, OwnedVariant>,
        _expire_timeout: i32,
    ) -> u32 {
        // The test may have ended.
        let _ = self.0.send((summary, body));
        1
    }
}

pub(super) fn a_user_is_told_that_a_scheduler_failed() -> anyhow::Result<()> {
    let address = format!("unix:path={SOCKET}");
    fs::write(
        CONFIG,
        format!(
            "<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow user='*'/><allow own='*'/><allow eavesdrop='true'/>\
             <allow send_destination='*' eavesdrop='true'/></policy></busconfig>"
        ),
    )?;
    // Left behind by another run.
    if Path::new(SOCKET).exists() {
        fs::remove_file(SOCKET)?;
    }
    let _session = load::start(&format!(
        "dbus-daemon --config-file={CONFIG} --nofork --nopidfile --nosyslog"
    ))?;
    wait::until("the session bus", &true, || Path::new(SOCKET).exists())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (shows, mut shown) = mpsc::unbounded_channel();
    let _desktop = runtime.block_on(
        connection::Builder::address(address.as_str())
            .serve_at("/org/freedesktop/Notifications", Desktop(shows))
            .name("org.freedesktop.Notifications")
            .build(),
    )?;

    policy::write(QUIET)?;
    service::restart()?;
    let bus = Bus::connect()?;
    bus.pin("bpfland")?;
    wait::until("owner", &"auto-ext".to_owned(), || {
        bus.string("CurrentOwner")
    })?;
    let unit = fs::read_to_string(UNIT).context(UNIT)?;
    let nobody = format!("[Service]\nUser=nobody\nEnvironment=DBUS_SESSION_BUS_ADDRESS={address}");
    fs::write(AS_NOBODY, unit.replace("[Service]", &nobody))?;
    service::say("systemctl daemon-reload")?;
    service::say("systemctl start auto-ext-notify.service")?;
    // What was before it listens is told to nobody.
    wait::until("on the bus", &true, || {
        service::output("busctl list").is_ok_and(|said| {
            let peers = String::from_utf8_lossy(&said.stdout).into_owned();
            peers.contains("auto-ext-notify.service")
        })
    })?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let pid = bus.number("SchedulerPid")?;
    service::say(&format!("kill -KILL {pid}"))?;
    let told = runtime.block_on(async { timeout(wait::HANG, shown.recv()).await });
    let (summary, body) = told.context("no notice")?.context("no desktop")?;
    ensure!(
        summary == "CPU scheduler scx_bpfland failed",
        "{summary}: {body}"
    );
    ensure!(body.contains("is quarantined for"), "{body}");
    service::say("systemctl stop auto-ext-notify.service")?;
    fs::remove_file(AS_NOBODY)?;
    service::say("systemctl daemon-reload")?;
    service::stop()
}
