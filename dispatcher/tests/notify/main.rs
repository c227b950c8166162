//! `auto-ext notify` between two buses: a daemon that says what a test wants on the one, and who shows notices on the other.

#![expect(clippy::unwrap_used, reason = "a test speaks to its runner")]

mod bus;

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use zbus::{Connection, OwnedVariant, connection, interface};

use bus::Bus;

/// How long to wait for what must come: pauses between notices are shorter.
const WITHIN: Duration = Duration::from_secs(60);
/// How long to wait for what must not come.
const NOTHING_WITHIN: Duration = Duration::from_secs(2);

/// The daemon's side, as far as notices are about it.
#[derive(Clone, Default)]
struct Daemon {
    mode: String,
    reason: String,
    quarantined: BTreeMap<String, u64>,
    last_error: String,
    /// The newest first.
    history: Vec<serde_json::Value>,
}

#[interface(name = "org.autoext.AutoExt1")]
impl Daemon {
    #[zbus(property)]
    fn current_scheduler(&self) -> String {
        "kernel".to_owned()
    }

    #[zbus(property)]
    fn mode(&self) -> String {
        self.mode.clone()
    }

    #[zbus(property)]
    fn reason(&self) -> String {
        self.reason.clone()
    }

    #[zbus(property)]
    fn quarantined(&self) -> BTreeMap<String, u64> {
        self.quarantined.clone()
    }

    #[zbus(property)]
    fn last_error(&self) -> String {
        self.last_error.clone()
    }

    fn history(&self, n: u32) -> String {
        let count = usize::try_from(n).unwrap();
        let entries: Vec<_> = self.history.iter().take(count).collect();
        json!(entries).to_string()
    }
}

impl Daemon {
    fn fail(&mut self, scheduler: &str, error: &str) {
        let at = self.history.len() + 1;
        let failed = json!({
            "at": at, "event": "exited", "from": scheduler, "to": "kernel", "class": "game", "reason": "", "error": error,
        });
        self.history.insert(0, failed);
        self.last_error = format!("{scheduler}: {error}");
    }
}

/// Who shows notices, and passes on what is shown: summary and body.
struct Desktop(mpsc::UnboundedSender<(String, String)>);

#[interface(name = "org.freedesktop.Notifications")]
impl Desktop {
    #[expect(clippy::too_many_arguments, reason = "so says the specification")]
    fn notify(
        &self,
        app_name: &str,
        replaces_id: u32,
        _app_icon: &str,
        summary: String,
        body: String,
        actions: Vec<&str>,
        _hints: BTreeMap<String, OwnedVariant>,
        _expire_timeout: i32,
    ) -> u32 {
        assert_eq!((app_name, replaces_id), ("auto-ext", 0));
        assert_eq!(actions.into_iter().next(), None);
        self.0.send((summary, body)).unwrap();
        1
    }
}

/// `auto-ext notify`, which ends with the test.
struct Notifier(Child);

impl Drop for Notifier {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// All of it. What is declared first is dropped first.
struct World {
    _notifier: Notifier,
    served: Option<Connection>,
    daemon: Daemon,
    desktop: Option<Connection>,
    shown: mpsc::UnboundedReceiver<(String, String)>,
    shows: mpsc::UnboundedSender<(String, String)>,
    system: Bus,
    session: Bus,
    _directory: tempfile::TempDir,
}

impl World {
    async fn start(daemon: Daemon) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let system = Bus::start(directory.path(), "system");
        let session = Bus::start(directory.path(), "session");
        let notifier = Command::new(env!("CARGO_BIN_EXE_auto-ext"))
            .arg("notify")
            .env("DBUS_SYSTEM_BUS_ADDRESS", &system.address)
            .env("DBUS_SESSION_BUS_ADDRESS", &session.address)
            .spawn()
            .unwrap();
        let (shows, shown) = mpsc::unbounded_channel();
        let mut world = Self {
            _notifier: Notifier(notifier),
            served: None,
            daemon,
            desktop: None,
            shown,
            shows,
            system,
            session,
            _directory: directory,
        };
        world.start_desktop().await;
        world.start_daemon().await;
        world
    }

    async fn start_daemon(&mut self) {
        let builder = connection::Builder::address(self.system.address.as_str())
            .serve_at("/org/autoext/AutoExt1", self.daemon.clone())
            .name("org.autoext.AutoExt1");
        self.served = Some(builder.build().await.unwrap());
    }

    async fn stop_daemon(&mut self) {
        self.served.take().unwrap().close().await.unwrap();
    }

    async fn start_desktop(&mut self) {
        let builder = connection::Builder::address(self.session.address.as_str())
            .serve_at(
                "/org/freedesktop/Notifications",
                Desktop(self.shows.clone()),
            )
            .name("org.freedesktop.Notifications");
        self.desktop = Some(builder.build().await.unwrap());
    }

    async fn stop_desktop(&mut self) {
        self.desktop.take().unwrap().close().await.unwrap();
    }

    /// Changes the daemon, which announces it.
    async fn change(&mut self, change: impl FnOnce(&mut Daemon)) {
        change(&mut self.daemon);
        let server = self.served.as_ref().unwrap().object_server();
        let object = server.interface::<_, Daemon>("/org/autoext/AutoExt1");
        let object = object.await.unwrap();
        *object.get_mut().await = self.daemon.clone();
        let emitter = object.signal_emitter();
        let daemon = object.get().await;
        daemon.mode_changed(emitter).await.unwrap();
        daemon.quarantined_changed(emitter).await.unwrap();
        daemon.last_error_changed(emitter).await.unwrap();
    }

    /// The next notice.
    async fn notice(&mut self) -> (String, String) {
        let shown = timeout(WITHIN, self.shown.recv()).await;
        shown.expect("a notice").unwrap()
    }

    async fn no_notice(&mut self) {
        let shown = timeout(NOTHING_WITHIN, self.shown.recv()).await;
        assert!(shown.is_err(), "{shown:?}");
    }
}

fn normal() -> Daemon {
    let mut daemon = Daemon {
        mode: "auto".to_owned(),
        ..Daemon::default()
    };
    daemon.fail("scx_old", "is known");
    daemon.quarantined = [("old".to_owned(), u64::MAX / 2)].into();
    daemon
}

#[tokio::test]
async fn a_failure_is_told_once_whatever_is_restarted() {
    let mut world = World::start(normal()).await;
    world.no_notice().await;
    world
        .change(|daemon| daemon.fail("scx_bpfland", "<b>crashed</b> & left"))
        .await;
    let (summary, body) = world.notice().await;
    assert_eq!(summary, "CPU scheduler scx_bpfland failed");
    let expected = "&lt;b&gt;crashed&lt;/b&gt; &amp; left\nThe kernel's own scheduler runs now.";
    assert_eq!(body, expected);

    world.stop_daemon().await;
    world.start_daemon().await;
    world.no_notice().await;
    world.system.restart();
    world.start_daemon().await;
    world.no_notice().await;
    // It is on the new bus once it tells of something.
    world
        .change(|daemon| daemon.fail("scx_lavd", "stalled"))
        .await;
    let (summary, _) = world.notice().await;
    assert_eq!(summary, "CPU scheduler scx_lavd failed");
    world.no_notice().await;
}

#[tokio::test]
async fn what_cannot_be_shown_is_told_when_somebody_shows_notices_again() {
    let mut world = World::start(normal()).await;
    world.no_notice().await;
    world.stop_desktop().await;
    world
        .change(|daemon| daemon.fail("scx_bpfland", "crashed"))
        .await;
    world.no_notice().await;
    world.session.restart();
    world.start_desktop().await;
    let (summary, _) = world.notice().await;
    assert_eq!(summary, "CPU scheduler scx_bpfland failed");
    world.no_notice().await;
}

#[tokio::test]
async fn the_safe_mode_that_began_before_anybody_listened_is_told() {
    let safe = Daemon {
        mode: "observe".to_owned(),
        reason: "safe mode, the kernel's own scheduler runs".to_owned(),
        ..normal()
    };
    let mut world = World::start(safe).await;
    let (summary, body) = world.notice().await;
    assert_eq!(summary, "CPU schedulers: safe mode");
    assert_eq!(body, "safe mode, the kernel's own scheduler runs");
    world.no_notice().await;
}

#[tokio::test]
async fn edits_of_the_policy_and_who_decides_are_not_told() {
    let mut world = World::start(normal()).await;
    world.no_notice().await;
    world
        .change(|daemon| {
            daemon.mode = "pinned".to_owned();
            daemon.last_error = "/etc/auto-ext/policies.yaml:3:1: error".to_owned();
        })
        .await;
    world.no_notice().await;
}
