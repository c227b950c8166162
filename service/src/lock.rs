//! Locking what threads share, in a program that ends with its first panic.

use std::sync::{Mutex, MutexGuard};

/// Locks a mutex. No panic can have left its contents half changed, as the program ends with the first one
/// (`panic = "abort"` in Cargo.toml).
///
/// # Panics
/// In tests, where a panic only ends its thread, when one happened while the mutex was locked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a panic ends the program")
}
