//! What loads a resource, a little at a time.

/// Loads a resource for about a millisecond.
pub(crate) type Load = Box<dyn FnMut() + Send>;
