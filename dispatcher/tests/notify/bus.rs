//! A D-Bus bus of a test's own, which can be stopped and started anew at the same address.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The bus, until this is dropped.
pub(crate) struct Bus {
    config: String,
    pub(crate) address: String,
    daemon: Child,
}

impl Bus {
    /// A bus whose files are in `directory`, called `name`.
    pub(crate) fn start(directory: &Path, name: &str) -> Self {
        let address = format!("unix:path={}", directory.join(name).display());
        let config = directory.join(format!("{name}.conf"));
        let text = format!(
            "<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow send_destination='*' eavesdrop='true'/>\
             <allow eavesdrop='true'/><allow own='*'/></policy></busconfig>"
        );
        std::fs::write(&config, text).unwrap();
        let config = format!("--config-file={}", config.display());
        let daemon = spawn(&config);
        let mut bus = Self {
            config,
            address,
            daemon,
        };
        bus.wait();
        bus
    }

    /// Ends it and starts another, which knows nothing of those that were connected.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.daemon = spawn(&self.config);
        self.wait();
    }

    fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.daemon.kill();
        self.daemon.wait().unwrap();
        std::fs::remove_file(self.path()).unwrap();
    }

    fn wait(&mut self) {
        while UnixStream::connect(self.path()).is_err() {
            let ended = self.daemon.try_wait().unwrap();
            assert!(ended.is_none(), "dbus-daemon: {ended:?}");
            sleep(Duration::from_millis(10));
        }
    }

    fn path(&self) -> &str {
        self.address.trim_start_matches("unix:path=")
    }
}

fn spawn(config: &str) -> Child {
    Command::new("dbus-daemon")
        .args([config, "--nofork", "--nopidfile", "--nosyslog"])
        // It says more than it has to.
        .stderr(Stdio::null())
        .spawn()
        .expect("dbus-daemon is needed (Debian: dbus-daemon)")
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stop();
    }
}
