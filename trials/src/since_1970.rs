//! Times since 1970 in files: seconds, with a part of them, that people can read.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

fn read<E: Error>(seconds: f64) -> Result<Duration, E> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time < Duration::from_hours(24 * 365 * 1000))
        .ok_or_else(|| E::custom(format!("{seconds} is no time since 1970")))
}

/// Milliseconds are kept; a float holds them exactly enough.
fn written(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(written(*time))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    read(f64::deserialize(from)?)
}

/// The same of several.
pub(crate) mod list {
    use super::{Deserialize, Deserializer, Duration, Serializer, read, written};

    pub(crate) fn serialize<S: Serializer>(times: &[Duration], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(times.iter().copied().map(written))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Duration>, D::Error> {
        let seconds = Vec::<f64>::deserialize(from)?;
        seconds.into_iter().map(read).collect()
    }
}
