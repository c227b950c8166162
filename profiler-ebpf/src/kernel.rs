//! Reading the running kernel's structures.
//!
//! rustc cannot emit CO-RE relocations. Instead, every offset is a read-only global that user space
//! fills in from the kernel's BTF before loading; the verifier knows the contents of a frozen
//! read-only map, so it checks `pointer + offset` against BTF like any other field access.

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Byte offset of a member in a structure of the running kernel.
pub(crate) type Offset = Global<u64>;

/// Of the number of a task.
#[unsafe(no_mangle)]
pub(crate) static TASK_PID: Offset = Offset::new(0);
/// Of the number of its process.
#[unsafe(no_mangle)]
pub(crate) static TASK_TGID: Offset = Offset::new(0);

/// Reads the member of type `T` at `offset` of the kernel structure behind `base`.
///
/// # Safety
/// `base` must come from a tracepoint argument or from a pointer read by this function, `offset`
/// must be that of a member of type `T`. The verifier holds both against BTF, and turns the load
/// into one that reads 0 when the address is bad.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the BPF target has 64 bits"
)]
pub(crate) unsafe fn read<T: Copy>(base: *const u8, offset: &Offset) -> T {
    // SAFETY: as the caller promises.
    unsafe { core::ptr::read_volatile(base.wrapping_add(offset.load() as usize).cast::<T>()) }
}

/// A type of which any bits are a value.
pub(crate) trait AnyBits: Copy {}
impl AnyBits for u8 {}
impl AnyBits for u16 {}
impl AnyBits for u32 {}
impl AnyBits for i32 {}
impl AnyBits for u64 {}

/// As [`read`], of a structure that may be gone; what is there then is not what is asked for. `None` when
/// there is no memory.
#[inline(always)]
pub(crate) fn read_past<T: AnyBits>(base: u64, offset: &Offset) -> Option<T> {
    let address = base.wrapping_add(offset.load()) as *const T;
    // SAFETY: the helper reads whatever address it is given, or says that it cannot.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}
