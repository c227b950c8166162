//! What each object has: its licence, and what the compiler wants for a panic.

// SAFETY: the kernel reads the licence by the name of its section.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here panics; the linker drops this, and the verifier refuses it if it does not.
    loop {}
}
