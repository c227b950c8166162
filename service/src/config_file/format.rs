//! What a file is for, in messages about it.

/// What a file is for.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Such as `a policy`.
    pub name: &'static str,
    /// What it has at least.
    pub least: &'static str,
}
