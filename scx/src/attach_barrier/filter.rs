//! Which calls the supervisor is asked about: the program that the kernel runs for every call of the
//! process.

#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the kernel fit the fields that they are for"
)]

use std::mem::{offset_of, size_of};

use nix::libc;

// linux/audit.h and the kernel's own O_LARGEFILE, which musl sets and libc has as 0.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = libc::EM_X86_64 as u32 | 0xC000_0000;
#[cfg(target_arch = "x86_64")]
const O_LARGEFILE: u32 = 0o100_000;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = libc::EM_AARCH64 as u32 | 0xC000_0000;
#[cfg(target_arch = "aarch64")]
const O_LARGEFILE: u32 = 0o400_000;

const OPENAT: u32 = libc::SYS_openat as u32;
pub(super) const BPF: u32 = libc::SYS_bpf as u32;

/// enum bpf_cmd of linux/bpf.h.
const BPF_LINK_CREATE: u32 = 28;

/// Notifies of `openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC)`, which is how Rust opens a file to
/// read it, and of `bpf(BPF_LINK_CREATE)`; allows everything else, and every call of another
/// architecture. x32 shares x86-64's, but not its numbers. All arguments that are compared are ints
/// to the kernel: their upper halves are noise.
#[rustfmt::skip]
pub(super) static FILTER: [libc::sock_filter; 14] = [
    /*  0 */ load(offset_of!(libc::seccomp_data, arch)),
    /*  1 */ if_equal(ARCH, 0, 11),
    /*  2 */ load(offset_of!(libc::seccomp_data, nr)),
    /*  3 */ if_equal(OPENAT, 3, 0),
    /*  4 */ if_equal(BPF, 0, 8),
    /*  5 */ load(argument(0)),
    /*  6 */ if_equal(BPF_LINK_CREATE, 5, 6),
    /*  7 */ load(argument(0)),
    /*  8 */ if_equal(libc::AT_FDCWD.cast_unsigned(), 0, 4),
    /*  9 */ load(argument(2)),
    /* 10 */ step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, !O_LARGEFILE),
    /* 11 */ if_equal((libc::O_RDONLY | libc::O_CLOEXEC).cast_unsigned(), 0, 1),
    /* 12 */ step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    /* 13 */ step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
];

/// Where the lower half of an argument is. Both architectures are little-endian.
const fn argument(index: usize) -> usize {
    offset_of!(libc::seccomp_data, args) + index * size_of::<u64>()
}

const fn load(offset: usize) -> libc::sock_filter {
    let code = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    step(code, 0, 0, offset as u32)
}

/// Skips `yes` or `no` instructions.
const fn if_equal(value: u32, yes: u8, no: u8) -> libc::sock_filter {
    let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    step(code, yes, no, value)
}

const fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    let code = code as u16;
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X32: u32 = 0x4000_0000;
    const I386: u32 = libc::EM_386 as u32 | 0x4000_0000;
    const HERE: u64 = libc::AT_FDCWD as u64;
    const TO_READ: u64 = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;

    fn lower(value: u64) -> u32 {
        u32::try_from(value & u64::from(u32::MAX)).unwrap()
    }

    /// What the filter says to a call with these first and third arguments: the kernel's
    /// interpreter, as far as the filter needs it.
    fn notifies(arch: u32, number: u32, first: u64, third: u64) -> bool {
        let at = |offset: u32| match offset {
            0 => number,
            4 => arch,
            16 => lower(first),
            32 => lower(third),
            _ => panic!("the filter reads at {offset}"),
        };
        let (mut value, mut next) = (0, 0);
        loop {
            let libc::sock_filter { code, jt, jf, k } = FILTER[next];
            next += 1;
            match code {
                0x20 => value = at(k),
                0x54 => value &= k,
                0x15 => next += usize::from(if value == k { jt } else { jf }),
                0x06 => return k == libc::SECCOMP_RET_USER_NOTIF,
                _ => panic!("the filter has an instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn opening_as_rust_does_it_to_read_is_notified() {
        assert!(notifies(ARCH, OPENAT, HERE, TO_READ));
        // An int is sign-extended by some C libraries and not by others.
        assert!(notifies(ARCH, OPENAT, HERE & u64::from(u32::MAX), TO_READ));
        // As musl does it.
        assert!(notifies(
            ARCH,
            OPENAT,
            HERE,
            TO_READ | u64::from(O_LARGEFILE)
        ));
    }

    #[test]
    fn other_opening_is_free() {
        assert!(!notifies(ARCH, OPENAT, 3, TO_READ));
        assert!(!notifies(ARCH, OPENAT, HERE, 0));
        let to_write = (libc::O_WRONLY | libc::O_CLOEXEC) as u64;
        assert!(!notifies(ARCH, OPENAT, HERE, to_write));
        let directory = TO_READ | libc::O_DIRECTORY as u64;
        assert!(!notifies(ARCH, OPENAT, HERE, directory));
    }

    #[test]
    fn of_bpf_only_creating_a_link_is_notified() {
        for command in 0..64 {
            let expected = command == u64::from(BPF_LINK_CREATE);
            assert_eq!(notifies(ARCH, BPF, command, TO_READ), expected);
        }
    }

    #[test]
    fn calls_of_other_architectures_are_not_mistaken_for_ours() {
        let link = u64::from(BPF_LINK_CREATE);
        for (arch, more) in [(I386, 0), (ARCH, X32), (!ARCH, 0)] {
            assert!(!notifies(arch, OPENAT | more, HERE, TO_READ));
            assert!(!notifies(arch, BPF | more, link, 0));
        }
    }

    #[test]
    fn calls_with_the_same_arguments_are_free() {
        for number in (0..600).filter(|number| ![OPENAT, BPF].contains(number)) {
            assert!(!notifies(ARCH, number, HERE, TO_READ));
            assert!(!notifies(ARCH, number, u64::from(BPF_LINK_CREATE), 0));
        }
    }
}
