//! Model files and samples of scx_foresight. What must hold is said in foresight-model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| foresight_model::fuzzing::input(data));
