//! What the kernel says about sched_ext, read from sysfs at the moment of asking.
//!
//! Owns the format of /sys/kernel/sched_ext
//! (Documentation/scheduler/sched-ext.rst, kernel/sched/ext.c); remembers nothing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use auto_ext_core::KernelState;

/// What the kernel says at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What runs.
    pub state: KernelState,
    /// Which enabling of a scheduler it is that runs: no two have the same number, also when the same scheduler comes
    /// back. `None` when none is enabled or the kernel does not tell.
    pub instance: Option<u64>,
    /// How many schedulers have been enabled since boot; the kernel counts a moment after it says `enabled`. `None`
    /// where it does not tell.
    pub enable_seq: Option<u64>,
}

/// The kernel's sched_ext directory.
#[derive(Clone, Debug)]
pub struct SchedExt {
    directory: PathBuf,
}

impl SchedExt {
    /// The one below `sys`, which is /sys but in tests.
    #[must_use]
    pub fn below(sys: &Path) -> Self {
        Self {
            directory: sys.join("kernel/sched_ext"),
        }
    }

    /// Asks the kernel.
    #[must_use]
    pub fn read(&self) -> KernelState {
        // The state and the name are two files: a scheduler that leaves in between shows as a
        // missing name, and is asked about again.
        for _ in 0..3 {
            match self.state() {
                Ok(state) if state == "enabled" => match self.attribute("root/ops") {
                    Ok(ops) if !ops.is_empty() => return KernelState::Enabled { ops },
                    Ok(_) => {}
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return self.unknown("root/ops", &error.to_string()),
                },
                Ok(state) => {
                    return match state.as_str() {
                        "disabled" => KernelState::Disabled,
                        "enabling" => KernelState::Enabling,
                        "disabling" => KernelState::Disabling,
                        other => self.unknown("state", &format!("unheard-of state `{other}`")),
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return KernelState::Unsupported;
                }
                Err(error) => return self.unknown("state", &error.to_string()),
            }
        }
        KernelState::Disabling
    }

    /// Asks the kernel for all that belongs together.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut instance = self.instance();
        // While one scheduler follows another, the files may be of two.
        for _ in 0..3 {
            let state = self.read();
            let enable_seq = self.enable_seq();
            let after = self.instance();
            if after == instance {
                let enabled = matches!(state, KernelState::Enabled { .. });
                return Snapshot {
                    state,
                    instance: instance.filter(|_| enabled),
                    enable_seq,
                };
            }
            instance = after;
        }
        Snapshot {
            state: KernelState::Disabling,
            instance: None,
            enable_seq: self.enable_seq(),
        }
    }

    /// The kernel makes the directory anew for each scheduler, and gives no number of a file to a second one
    /// (`kernfs_new_node` of fs/kernfs/dir.c).
    fn instance(&self) -> Option<u64> {
        let root = fs::metadata(self.directory.join("root")).ok()?;
        Some(root.ino())
    }

    /// How many schedulers have been enabled since boot. `None` where the kernel does not tell.
    #[must_use]
    pub fn enable_seq(&self) -> Option<u64> {
        self.attribute("enable_seq").ok()?.parse().ok()
    }

    /// How many times a CPU came or went since boot. The kernel refuses a scheduler that was made with
    /// another number. `None` where the kernel does not tell.
    #[must_use]
    pub fn hotplug_seq(&self) -> Option<u64> {
        self.attribute("hotplug_seq").ok()?.parse().ok()
    }

    fn state(&self) -> io::Result<String> {
        self.attribute("state")
    }

    fn attribute(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.directory.join(name)).map(|text| text.trim().to_owned())
    }

    fn unknown(&self, name: &str, message: &str) -> KernelState {
        KernelState::Unknown(format!(
            "{}: {message}",
            self.directory.join(name).display()
        ))
    }
}

/// Whether the attribute is not there, or was being removed while it was read (ENODEV).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
}

/// The kernel's release, such as `7.2.13+deb14-cloud-amd64`; empty if it does not tell.
#[must_use]
pub fn release() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| String::new(),
        |names| names.release().to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sys(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join("kernel/sched_ext").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn read(files: &[(&str, &str)]) -> KernelState {
        SchedExt::below(sys(files).path()).read()
    }

    #[test]
    fn a_kernel_without_sched_ext_is_unsupported_and_not_disabled() {
        assert_eq!(read(&[]), KernelState::Unsupported);
    }

    #[test]
    fn an_enabled_scheduler_has_the_name_of_its_program() {
        let state = read(&[
            ("state", "enabled\n"),
            ("root/ops", "bpfland_1.1.4_x86_64_unknown_linux_gnu\n"),
        ]);
        assert_eq!(state.scheduler(), "scx_bpfland");
    }

    #[test]
    fn an_enabled_scheduler_that_is_not_known_has_the_kernels_name() {
        let state = read(&[("state", "enabled\n"), ("root/ops", "homemade\n")]);
        assert_eq!(state.scheduler(), "homemade");
    }

    #[test]
    fn a_scheduler_on_its_way_in_or_out_does_not_schedule() {
        for state in ["enabling", "disabling", "disabled"] {
            assert_eq!(
                read(&[("state", state), ("root/ops", "bpfland")]).scheduler(),
                "kernel"
            );
        }
    }

    #[test]
    fn the_same_scheduler_that_was_enabled_again_is_another_instance() {
        let root = sys(&[
            ("state", "enabled\n"),
            ("root/ops", "mine\n"),
            ("enable_seq", "7\n"),
        ]);
        let sched_ext = SchedExt::below(root.path());
        let first = sched_ext.snapshot();
        assert_eq!(first.enable_seq, Some(7));
        assert_eq!(sched_ext.snapshot(), first);
        let directory = root.path().join("kernel/sched_ext");
        fs::rename(directory.join("root"), directory.join("before")).unwrap();
        fs::create_dir(directory.join("root")).unwrap();
        fs::write(directory.join("root/ops"), "mine\n").unwrap();
        let second = sched_ext.snapshot();
        assert_eq!(second.state, first.state);
        assert_ne!(second.instance, first.instance);
        fs::write(directory.join("state"), "disabled\n").unwrap();
        assert_eq!(sched_ext.snapshot().instance, None);
    }

    #[test]
    fn an_unheard_of_state_is_unknown_and_not_disabled() {
        let state = read(&[("state", "dreaming\n")]);
        assert!(matches!(&state, KernelState::Unknown(why) if why.contains("`dreaming`")));
        assert_eq!(state.scheduler(), "unknown");
    }
}
