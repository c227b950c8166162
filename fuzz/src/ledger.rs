//! Files that say what auto-ext-smt has placed. What must hold is said in smt.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| auto_ext_smt::fuzzing::ledger(data));
