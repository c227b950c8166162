//! Texts of /sys and /proc, one a line. What must hold is said in smt.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| auto_ext_smt::fuzzing::texts(data));
