//! TCP congestion control that is put into the kernel the way schedulers are: BPF operations (struct_ops) by a link. It does
//! nothing of use, and no connection uses it.
//!
//! Written with the kernel's calls alone, as no library here has operations.

use std::fs;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use anyhow::{Context as _, ensure};
use btf_rs::{Btf, Struct, Type};
use nix::errno::Errno;
use nix::libc;

use crate::wait;

/// The numbers of linux/bpf.h.
const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const PROG_LOAD: i32 = 5;
const BTF_LOAD: i32 = 18;
const LINK_CREATE: i32 = 28;
const MAP_TYPE_STRUCT_OPS: u32 = 26;
const PROG_TYPE_STRUCT_OPS: u32 = 27;
const ATTACH_STRUCT_OPS: u32 = 44;
const F_LINK: u32 = 1 << 13;
/// `r0 = 2; exit`.
const TWO: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// What the kernel asks for.
const NEEDED: [&str; 3] = ["ssthresh", "cong_avoid", "undo_cwnd"];
const NAME: &[u8] = b"auto_ext_test";

/// Puts it into the kernel until what is returned is dropped: the link and, as schedulers keep it too, the map.
fn attach() -> anyhow::Result<[OwnedFd; 2]> {
    let types = Btf::from_file("/sys/kernel/btf/vmlinux")?;
    let (operations_id, operations) = structure(&types, "tcp_congestion_ops")?;
    let (value_id, value) = structure(&types, "bpf_struct_ops_tcp_congestion_ops")?;
    let (_, data) = member(&types, &value, "data")?;
    let mut contents = vec![0_u8; value.size()];
    let mut programs = Vec::new();
    for name in NEEDED {
        let (index, offset) = member(&types, &operations, name)?;
        let program = program(operations_id, index).with_context(|| name.to_owned())?;
        put(
            &mut contents,
            data + offset,
            &u64::try_from(program.as_raw_fd())?.to_ne_bytes(),
        );
        programs.push(program);
    }
    let (_, offset) = member(&types, &operations, "name")?;
    put(&mut contents, data + offset, NAME);
    let map = map(value_id, contents.len()).context("its map")?;
    let key = 0_u32;
    let mut attr = Attr::default();
    attr.number(0, map.as_raw_fd().unsigned_abs());
    attr.pointer(8, (&raw const key).cast());
    attr.pointer(16, contents.as_ptr());
    bpf(MAP_UPDATE_ELEM, &attr).context("its operations")?;
    let mut attr = Attr::default();
    attr.number(0, map.as_raw_fd().unsigned_abs());
    attr.number(8, ATTACH_STRUCT_OPS);
    let link = bpf(LINK_CREATE, &attr).context("its link")?;
    // SAFETY: the kernel has just opened this file for us.
    Ok([unsafe { OwnedFd::from_raw_fd(link) }, map])
}

/// Is in the kernel until it is ended; with `once`, for a moment.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let link = attach()?;
    let known = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")?;
    ensure!(known.contains("auto_ext_test"), "it is not there: {known}");
    if words.is_empty() {
        std::thread::sleep(wait::HANG * 10);
    }
    drop(link);
    Ok(())
}

fn structure(types: &Btf, name: &str) -> anyhow::Result<(u32, Struct)> {
    let ids = types.resolve_ids_by_name(name)?;
    let mut found = ids
        .into_iter()
        .filter_map(|id| match types.resolve_type_by_id(id) {
            Ok(Type::Struct(found)) => Some((id, found)),
            _ => None,
        });
    found.next().with_context(|| format!("no struct {name}"))
}

/// Its number among the members, and its offset in bytes.
fn member(types: &Btf, of: &Struct, name: &str) -> anyhow::Result<(u32, usize)> {
    let mut members = (0..).zip(&of.members);
    let found = members.find(|(_, member)| types.resolve_name(*member).is_ok_and(|is| is == name));
    let (index, member) = found.with_context(|| format!("no member {name}"))?;
    Ok((index, usize::try_from(member.bit_offset() / 8)?))
}

fn put(contents: &mut [u8], at: usize, bytes: &[u8]) {
    contents[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A program that is one of the operations.
fn program(operations: u32, member: u32) -> anyhow::Result<OwnedFd> {
    let license = c"GPL";
    let mut attr = Attr::default();
    attr.number(0, PROG_TYPE_STRUCT_OPS);
    attr.number(4, 2);
    attr.pointer(8, TWO.as_ptr());
    attr.pointer(16, license.as_ptr().cast());
    attr.number(68, member);
    attr.number(108, operations);
    let program = bpf(PROG_LOAD, &attr)?;
    // SAFETY: the kernel has just opened this file for us.
    Ok(unsafe { OwnedFd::from_raw_fd(program) })
}

fn map(value: u32, size: usize) -> anyhow::Result<OwnedFd> {
    // The types of the program, of which the kernel wants some: one integer.
    let mut types = vec![0x9f, 0xeb, 1, 0];
    for number in [24_u32, 0, 16, 16, 5, 1, 1 << 24, 4, 32] {
        types.extend(number.to_ne_bytes());
    }
    types.extend(b"\0int\0");
    let mut attr = Attr::default();
    attr.pointer(0, types.as_ptr());
    attr.number(16, u32::try_from(types.len())?);
    let types = bpf(BTF_LOAD, &attr).context("its types")?;
    // SAFETY: the kernel has just opened this file for us.
    let types = unsafe { OwnedFd::from_raw_fd(types) };
    let mut attr = Attr::default();
    attr.number(0, MAP_TYPE_STRUCT_OPS);
    attr.number(4, 4);
    attr.number(8, u32::try_from(size)?);
    attr.number(12, 1);
    attr.number(16, F_LINK);
    attr.number(48, types.as_raw_fd().unsigned_abs());
    attr.number(60, value);
    let map = bpf(MAP_CREATE, &attr)?;
    // SAFETY: the kernel has just opened this file for us.
    Ok(unsafe { OwnedFd::from_raw_fd(map) })
}

/// `union bpf_attr`, by offsets.
#[derive(Default)]
#[repr(align(8))]
struct Attr {
    bytes: [[u8; 16]; 9],
}

impl Attr {
    fn number(&mut self, at: usize, number: u32) {
        put(self.bytes.as_flattened_mut(), at, &number.to_ne_bytes());
    }

    fn pointer(&mut self, at: usize, to: *const u8) {
        let address = (to as u64).to_ne_bytes();
        put(self.bytes.as_flattened_mut(), at, &address);
    }
}

fn bpf(command: i32, attr: &Attr) -> nix::Result<RawFd> {
    let attr = std::ptr::from_ref(attr);
    // SAFETY: what `attr` points to are the caller's own, which live until the call has returned.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<Attr>()) };
    let result = Errno::result(result)?;
    RawFd::try_from(result).map_err(|_| Errno::EOVERFLOW)
}
