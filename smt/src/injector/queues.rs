//! Fills queues of the core with an exact number of entries, for processors of x86_64 of which it is known how long these are.
//!
//! In each round so many instructions wait for a division or a square root, so that they take an entry each; a fence at the end
//! keeps the next round from adding any (`LFENCE` in Intel's manual, volume 2). The cache of decoded instructions is walked
//! through instead, by code that takes so many of its ways.

use std::arch::asm;

use crate::model::{Machine, Resource};

use super::load::Load;

/// How many rounds there are, for about a millisecond.
const ROUNDS: u64 = 20_000;

/// Takes as many entries of a resource as is right for a pressure of this place on this machine.
pub(super) fn queue(resource: Resource, pressure: usize, machine: Machine) -> Option<Load> {
    let entries = *machine.queue(resource)?.pressures().get(pressure)?;
    let fill = fill(resource, entries)?;
    Some(Box::new(move || fill(ROUNDS)))
}

/// One function for each number of entries: it is in the instructions.
fn fill(resource: Resource, entries: u16) -> Option<fn(u64)> {
    use Resource::{FpIsq, IntIsq, LoadIsq, UopCache};

    Some(match (resource, entries) {
        (IntIsq, 1) => integers::<1>,
        (IntIsq, 55) => integers::<55>,
        (IntIsq, 69) => integers::<69>,
        (IntIsq, 72) => integers::<72>,
        (IntIsq, 90) => integers::<90>,
        (FpIsq, 1) => floats::<1>,
        (FpIsq, 55) => floats::<55>,
        (FpIsq, 69) => floats::<69>,
        (FpIsq, 72) => floats::<72>,
        (FpIsq, 90) => floats::<90>,
        (LoadIsq, 1) => loads::<1>,
        (LoadIsq, 30) => loads::<30>,
        (LoadIsq, 38) => loads::<38>,
        (LoadIsq, 42) => loads::<42>,
        (LoadIsq, 53) => loads::<53>,
        (UopCache, 1) => decoded::<1>,
        (UopCache, 3) => decoded::<3>,
        (UopCache, 4) => decoded::<4>,
        _ => return None,
    })
}

/// So many instructions wait for two divisions.
fn integers<const N: u16>(rounds: u64) {
    // SAFETY: it changes the registers that are named, and the flags; the divisor is not 0, and a quotient fits.
    unsafe {
        asm!(
            "2:",
            "mov rax, {dividend}",
            "xor edx, edx",
            "div {divisor}",
            "xor edx, edx",
            "div {divisor}",
            ".rept {n}",
            "lea {waits}, [rax + 1]",
            ".endr",
            "lfence",
            "dec {rounds}",
            "jnz 2b",
            n = const N,
            rounds = inout(reg) rounds => _,
            dividend = in(reg) 1_u64 << 62,
            divisor = in(reg) (1_u64 << 61) + 1,
            waits = out(reg) _,
            out("rax") _,
            out("rdx") _,
            options(nomem, nostack),
        );
    }
}

/// So many instructions wait for two square roots.
fn floats<const N: u16>(rounds: u64) {
    // SAFETY: it changes the registers that are named, and the flags.
    unsafe {
        asm!(
            "2:",
            "sqrtsd {root}, {root}",
            "sqrtsd {root}, {root}",
            ".rept {n}",
            "cvtps2dq {waits}, {root}",
            ".endr",
            "lfence",
            "dec {rounds}",
            "jnz 2b",
            n = const N,
            rounds = inout(reg) rounds => _,
            root = inout(xmm_reg) 1.0_f64 => _,
            waits = out(xmm_reg) _,
            options(nomem, nostack),
        );
    }
}

/// So many loads wait for two divisions, the second of which leaves 0.
fn loads<const N: u16>(rounds: u64) {
    let word = 1_u64;
    // SAFETY: it reads `word`, which outlives it, as the second quotient is 0; it changes the registers that are named, and the
    // flags. The divisor is not 0, and a quotient fits.
    unsafe {
        asm!(
            "2:",
            "mov rax, {dividend}",
            "xor edx, edx",
            "div {divisor}",
            "xor edx, edx",
            "div {divisor}",
            ".rept {n}",
            "mov {waits}, [{word} + rax]",
            ".endr",
            "lfence",
            "dec {rounds}",
            "jnz 2b",
            n = const N,
            rounds = inout(reg) rounds => _,
            dividend = in(reg) 1_u64 << 62,
            divisor = in(reg) (1_u64 << 61) + 1,
            word = in(reg) &raw const word,
            waits = out(reg) _,
            out("rax") _,
            out("rdx") _,
            options(readonly, nostack),
        );
    }
}

/// Code that takes so many ways of each of the 64 sets: a window of 64 bytes has a line of its own.
fn decoded<const N: u16>(rounds: u64) {
    // SAFETY: it changes the register that is named, and the flags.
    unsafe {
        asm!(
            ".p2align 6",
            "2:",
            ".rept {n} * 64",
            "nop",
            ".p2align 6",
            ".endr",
            "dec {rounds}",
            "jnz 2b",
            n = const N,
            // A round is as long as hundreds of those of a queue.
            rounds = inout(reg) rounds.div_ceil(100) => _,
            options(nomem, nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    #[test]
    fn each_queue_of_a_known_processor_is_filled_at_each_pressure() {
        for machine in [Machine::IntelGen11, Machine::GoldenCove] {
            let queues = Resource::ALL.into_iter();
            for resource in queues.filter(|one| one.kind() == Kind::Sequential) {
                for pressure in 0..3 {
                    let mut load = queue(resource, pressure, machine).unwrap();
                    load();
                }
                assert!(queue(resource, 3, machine).is_none());
            }
            assert!(queue(Resource::L2Cache, 0, machine).is_none());
        }
    }
}
