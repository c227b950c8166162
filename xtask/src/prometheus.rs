//! Owns Prometheus and promtool, by which metrics are judged: Debian's, unpacked in the cache.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache;
use crate::command::step;
use crate::debian::archive::Archive;
use crate::machine::image::SUITE;

/// Both programs, which need nothing but the C library.
pub(crate) fn ensure() -> Result<[PathBuf; 2]> {
    let tree = cache::entry(format!("prometheus-{SUITE}"), |tree| {
        step("fetching Prometheus", || {
            Archive::open(&[SUITE])?.unpack(&["prometheus".to_owned()], tree)
        })
    })?;
    Ok(["prometheus", "promtool"].map(|name| tree.join("usr/bin").join(name)))
}
