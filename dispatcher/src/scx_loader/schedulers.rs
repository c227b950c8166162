//! The names of schedulers, as scx_loader and its clients have them.

/// The schedulers that scx_loader 1.1.3 knows. Its clients fail at any other name.
pub(crate) const SUPPORTED: [&str; 14] = [
    "scx_beerland",
    "scx_bpfland",
    "scx_cake",
    "scx_cosmos",
    "scx_flash",
    "scx_flow",
    "scx_forge",
    "scx_lavd",
    "scx_mlfq",
    "scx_pandemonium",
    "scx_p2dq",
    "scx_tickless",
    "scx_rustland",
    "scx_rusty",
];

/// What its clients are told where there is no scheduler, or none that they know.
pub(crate) const UNKNOWN: &str = "unknown";

/// The scheduler of that name, if its clients know it.
pub(crate) fn supported(name: &str) -> Option<&'static str> {
    SUPPORTED.into_iter().find(|supported| *supported == name)
}

/// The program of the scheduler that is called so, with or without `scx_`; `None` when no scheduler can be called so.
pub(crate) fn command(name: &str) -> Option<String> {
    let name = name.strip_prefix("scx_").unwrap_or(name);
    let fits = |char: char| char.is_ascii_alphanumeric() || char == '_';
    ((1..=32).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('_'))
        .then(|| format!("scx_{name}"))
}
