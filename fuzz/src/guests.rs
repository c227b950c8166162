//! What libvirt's daemon and QEMU answer. What must hold is said in vm.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| auto_ext_vm::fuzzing::answers(data));
