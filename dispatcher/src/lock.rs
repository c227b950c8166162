//! Locking what threads share.

use std::sync::{Mutex, MutexGuard};

/// Locks a mutex, which no panic can have left half changed: the program ends with the first one
/// (`panic = "abort"` in Cargo.toml).
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a panic ends the program")
}
