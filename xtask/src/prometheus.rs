//! Owns Prometheus and promtool, by which metrics are judged: Debian's, unpacked in the cache.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache;
use crate::command::step;
use crate::debian::archive::Archive;
use crate::machine::image::SUITE;

/// The packages, each with the program of its name.
const PACKAGES: [&str; 2] = ["prometheus", "promtool"];

/// The names of both programs, which need nothing but the C library, and where they are.
pub(crate) fn ensure() -> Result<[(&'static str, PathBuf); 2]> {
    let name = format!("{}-{SUITE}", PACKAGES.join("-"));
    let tree = cache::entry(name, |tree| {
        step("fetching Prometheus", || {
            Archive::open(&[SUITE])?.unpack(&PACKAGES.map(str::to_owned), tree)
        })
    })?;
    Ok(PACKAGES.map(|name| (name, tree.join("usr/bin").join(name))))
}
