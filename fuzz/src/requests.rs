//! Arguments of the methods on the bus, and of the command line that calls them. What must hold is said in the dispatcher.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| auto_ext_dispatcher::fuzzing::requests(data));
