//! What BPF operations (struct_ops) a process has in the kernel or is about to put there: whether they are those of a
//! scheduler, and by which name it goes.
//!
//! A scheduler is a map of operations and a link that puts them into the kernel; so are TCP congestion control, HID and
//! qdiscs. The type of the map's value says which of these it is, and the value itself its name: both are asked of the
//! kernel through a copy of the process's own file, which needs CAP_SYS_PTRACE, and not CAP_SYS_ADMIN as asking by
//! number would. What cannot be asked is `None`, unknown, and not something else.

mod layout;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::OnceLock;

use auto_ext_service::kernel_types::KernelTypes;
use nix::errno::Errno;
use nix::libc;

use crate::pidfd::Pidfd;
use layout::Layout;

/// The kernel's types.
/// enum bpf_cmd of linux/bpf.h.
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// enum bpf_map_type of linux/bpf.h.
const BPF_MAP_TYPE_STRUCT_OPS: u32 = 26;
/// How large a value may be; those of schedulers are 400 bytes.
const MAX_VALUE: usize = 64 << 10;
/// How many files of a process are looked at; schedulers have a few dozen.
const MAX_FILES: usize = 4096;

/// What operations are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operations {
    /// A scheduler of the whole machine; its name is what `/sys/kernel/sched_ext/root/ops` shows once it is enabled.
    Scheduler { name: String },
    /// A scheduler of one cgroup, below that of the whole machine (Linux 7.1 and later).
    SubScheduler,
    /// Something that schedules no tasks.
    Other,
}

/// The kernel's answer about a map of operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) operations: Operations,
    /// The kernel itself holds on to it: it is attached or being attached.
    pub(crate) in_use: bool,
}

/// Asks about the file `fd`, which must be a map of operations, of the process whose directory in /proc this is.
pub(crate) type Ask = fn(process: &Path, fd: RawFd) -> Option<Answer>;

/// Operations that a process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// `None` when the kernel does not say.
    pub(crate) answer: Option<Answer>,
    /// The number of the link by which they are in the kernel, when the process holds one.
    pub(crate) link: Option<u32>,
}

impl Held {
    /// Whether these are the operations of the scheduler that the kernel shows as `ops`; `None` when the kernel does
    /// not say what they are.
    pub(crate) fn is_scheduler(&self, ops: &str) -> Option<bool> {
        let answer = self.answer.as_ref()?;
        Some(matches!(&answer.operations, Operations::Scheduler { name } if name == ops))
    }

    /// Whether they may be in the kernel already, or be on their way.
    pub(crate) fn may_be_attached(&self) -> bool {
        // The kernel enables a scheduler before the process has the link.
        self.link.is_some() || self.answer.as_ref().is_none_or(|answer| answer.in_use)
    }
}

/// Reads what is needed of the kernel's types, once: tens of milliseconds that nobody should have to wait for later.
pub(crate) fn prepare() {
    layouts();
}

/// The operations of the process whose directory in /proc this is.
pub(crate) fn of_process(process: &Path, ask: Ask) -> Vec<Held> {
    let (links, maps) = files(process);
    let mut held = Vec::new();
    for (link, map) in &links {
        let answer = maps
            .iter()
            .find(|(id, _)| id == map)
            .and_then(|(_, fd)| ask(process, *fd));
        held.push(Held {
            answer,
            link: Some(*link),
        });
    }
    for (map, fd) in maps {
        if !links.iter().any(|(_, of)| *of == map) {
            let answer = ask(process, fd);
            held.push(Held { answer, link: None });
        }
    }
    held
}

/// Whether the process whose directory in /proc this is holds a link of operations: less work than to ask for which.
pub(crate) fn has_link(process: &Path) -> bool {
    !files(process).0.is_empty()
}

/// The links (each with its map) and the maps (each with its file) of operations, by their numbers.
type Files = (Vec<(u32, u32)>, Vec<(u32, RawFd)>);

/// See `bpf_link_show_fdinfo` and `bpf_map_show_fdinfo` of kernel/bpf/syscall.c.
fn files(process: &Path) -> Files {
    let (mut links, mut maps) = (Vec::new(), Vec::new());
    let entries = fs::read_dir(process.join("fd")).into_iter().flatten();
    for entry in entries.flatten().take(MAX_FILES) {
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        let target = target.as_os_str();
        let (is_link, is_map) = (
            target == "anon_inode:bpf_link",
            target == "anon_inode:bpf-map",
        );
        if !is_link && !is_map {
            continue;
        }
        let info = fs::read_to_string(process.join("fdinfo").join(entry.file_name()));
        let info = info.unwrap_or_default();
        let field = |name: &str| {
            let mut lines = info.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
        };
        let number = |name: &str| field(name)?.parse::<u32>().ok();
        if is_link && field("link_type") == Some("struct_ops") {
            // A map that is not named is none of the process's.
            links.extend(number("link_id").map(|link| (link, number("map_id").unwrap_or(0))));
        } else if is_map && number("map_type") == Some(BPF_MAP_TYPE_STRUCT_OPS) {
            let fd = entry.file_name().to_str().and_then(|fd| fd.parse().ok());
            maps.extend(number("map_id").zip(fd));
        }
    }
    (links, maps)
}

/// Asks the kernel about a file of a process, by its directory in the real /proc.
pub(crate) fn ask(process: &Path, fd: RawFd) -> Option<Answer> {
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    of_file(&Pidfd::of_process(pid).ok()?, fd)
}

/// Asks the kernel about the file that `fd` is to a thread.
pub(crate) fn of_thread(thread: i32, fd: RawFd) -> Option<Answer> {
    of_file(&Pidfd::of_thread(thread).ok()?, fd)
}

fn of_file(process: &Pidfd, fd: RawFd) -> Option<Answer> {
    let map = process.file(fd).ok()?;
    let (value_type, value_size) = about(map.as_fd()).ok()?;
    let Some(layout) = layouts()?.iter().find(|layout| layout.value == value_type) else {
        return Some(Answer {
            operations: Operations::Other,
            in_use: true,
        });
    };
    let value = value(map.as_fd(), value_size).ok()?;
    layout.answer(&value)
}

/// What is known of the operations that are schedulers; `None` when the kernel's types cannot be had.
fn layouts() -> Option<&'static [Layout]> {
    static LAYOUTS: OnceLock<Option<Vec<Layout>>> = OnceLock::new();
    let layouts = LAYOUTS.get_or_init(|| {
        KernelTypes::of_the_kernel()
            .map(|types| layout::layouts(&types))
            .inspect_err(|error| tracing::warn!("whose a scheduler is cannot be told: {error}"))
            .ok()
    });
    layouts.as_deref()
}

impl Layout {
    /// What a map's value says.
    fn answer(&self, value: &[u8]) -> Option<Answer> {
        let at = |offset: usize, length: usize| value.get(offset..offset.checked_add(length)?);
        // Its first number is how many hold on to it beside the files of processes
        // (`bpf_struct_ops_map_sys_lookup_elem` of kernel/bpf/bpf_struct_ops.c).
        let in_use = u32::from_ne_bytes(at(0, 4)?.try_into().ok()?) != 0;
        let cgroup = match self.sub_cgroup {
            Some(offset) => u64::from_ne_bytes(at(offset, 8)?.try_into().ok()?),
            None => 0,
        };
        // 1 is the root of all cgroups.
        let operations = if cgroup > 1 {
            Operations::SubScheduler
        } else {
            let name = value.get(self.name..)?;
            let name = name.split(|byte| *byte == 0).next()?;
            let name = String::from_utf8_lossy(name).trim().to_owned();
            Operations::Scheduler { name }
        };
        Some(Answer { operations, in_use })
    }
}

/// A map's type of values in the kernel's BTF, and their size; 0 is no type.
fn about(map: BorrowedFd<'_>) -> nix::Result<(u32, usize)> {
    /// `struct bpf_map_info` of linux/bpf.h, as far as it is of use here.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        name: [u8; 16],
        ifindex: u32,
        btf_vmlinux_value_type_id: u32,
    }
    /// `bpf_attr.info`.
    #[repr(C)]
    struct Attr {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = Info::default();
    let attr = Attr {
        bpf_fd: map.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of::<Info>()).map_err(|_| Errno::EINVAL)?,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes of numbers to `info`, which outlives the call.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) }?;
    if info.kind != BPF_MAP_TYPE_STRUCT_OPS {
        return Err(Errno::EINVAL);
    }
    let size = usize::try_from(info.value_size).map_err(|_| Errno::EINVAL)?;
    Ok((info.btf_vmlinux_value_type_id, size))
}

/// The one value of a map of operations.
fn value(map: BorrowedFd<'_>, size: usize) -> nix::Result<Vec<u8>> {
    /// `bpf_attr` for elements of maps.
    #[repr(C)]
    struct Attr {
        map_fd: u32,
        _padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    if size > MAX_VALUE {
        return Err(Errno::E2BIG);
    }
    let key = 0_u32;
    let mut value = vec![0_u8; size];
    let attr = Attr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        _padding: 0,
        key: (&raw const key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads a key of 4 bytes and writes a value of the map's own size, which it has given; both
    // outlive the call.
    unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &attr) }?;
    Ok(value)
}

/// # Safety
/// The pointers in `attr` must be good for what `command` does with them.
unsafe fn bpf<T>(command: libc::c_int, attr: &T) -> nix::Result<()> {
    let attr = std::ptr::from_ref(attr);
    // SAFETY: the size is that of `attr`, which the kernel only reads; its pointers are the caller's matter.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
pub(crate) mod tests;
