//! Traces, as `auto-ext replay` reads them. What must hold is said in the dispatcher.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| auto_ext_dispatcher::fuzzing::trace(data));
