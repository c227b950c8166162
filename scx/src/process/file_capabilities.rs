//! Capabilities that a program's file asks for (`setcap`), so that it need not be run by root.
//!
//! A file may ask for more than the service may ever have (`CapabilityBoundingSet`). The kernel then
//! executes it for nobody there, root or not, and says EPERM without a reason.

use std::fs;
use std::path::Path;

/// The names of capabilities, by their numbers in linux/capability.h.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// The longest form of the attribute, `struct vfs_ns_cap_data`.
const LONGEST: usize = 24;
/// `VFS_CAP_FLAGS_EFFECTIVE`: the program expects to have them at once. Without it, it gets what it may have.
const EFFECTIVE: u32 = 1;

/// The capabilities for want of which this process cannot execute the file at `path`, with spaces between;
/// none if that is not so.
pub(super) fn wanting(path: &Path) -> Option<String> {
    let mut attribute = [0; LONGEST];
    let length = rustix::fs::getxattr(path, "security.capability", &mut attribute).ok()?;
    let asked = asked_for(attribute.get(..length)?)?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    names(asked & !bounding_set(&status)?)
}

/// What a file's attribute asks for, as bits; none where that cannot keep it from being executed.
fn asked_for(attribute: &[u8]) -> Option<u64> {
    let number = |index: usize| {
        let bytes = attribute.get(4 * index..4 * index + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if number(0)? & EFFECTIVE == 0 {
        return None;
    }
    // Permitted and inheritable ones, then the upper halves of both; the first version had none.
    let upper = number(3).unwrap_or(0);
    Some(u64::from(number(1)?) | u64::from(upper) << 32)
}

/// What a process may have at the most, of its /proc/PID/status.
fn bounding_set(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn names(capabilities: u64) -> Option<String> {
    let names: Vec<String> = (0..u64::BITS)
        .filter(|number| capabilities >> number & 1 == 1)
        .map(|number| match NAMES.get(number as usize) {
            Some(name) => format!("CAP_{name}"),
            None => number.to_string(),
        })
        .collect();
    (!names.is_empty()).then(|| names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `setcap cap_sys_admin,cap_perfmon,cap_bpf+ep` writes it.
    const WRITTEN: [u32; 5] = [0x0200_0001, 1 << 21, 0, 1 << 6 | 1 << 7, 0];

    fn bytes(numbers: &[u32]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    }

    #[test]
    fn what_setcap_wrote_is_named() {
        let asked = asked_for(&bytes(&WRITTEN)).unwrap();
        assert_eq!(
            names(asked),
            Some("CAP_SYS_ADMIN CAP_PERFMON CAP_BPF".into())
        );
        assert_eq!(names(1 << 63 | 1), Some("CAP_CHOWN 63".into()));
        assert_eq!(names(0), None);
    }

    #[test]
    fn what_is_not_expected_at_once_and_what_is_cut_off_keeps_no_program_from_running() {
        let mut later = WRITTEN;
        later[0] &= !EFFECTIVE;
        assert_eq!(asked_for(&bytes(&later)), None);
        assert_eq!(asked_for(&[]), None);
        assert_eq!(asked_for(&bytes(&WRITTEN[..1])), None);
    }

    #[test]
    fn the_bounding_set_is_read() {
        let status = "CapEff:\t0000000000000000\nCapBnd:\t000000c000880000\n";
        assert_eq!(bounding_set(status), Some(0xc0_0088_0000));
        assert_eq!(bounding_set(""), None);
    }

    #[test]
    fn a_file_without_any_is_not_kept_from_running() {
        assert_eq!(wanting("/proc/self/exe".as_ref()), None);
    }
}
