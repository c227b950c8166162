//! Chance from the kernel, for what must not be known before.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Where the kernel gives it; `/dev` is there in every sandbox of the service.
const DEVICE: &str = "/dev/urandom";

/// A number by chance.
///
/// # Errors
/// When the kernel gives none.
pub(crate) fn number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open(Path::new(DEVICE))?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_another_one_each_time() {
        assert_ne!(number().unwrap(), number().unwrap());
    }
}
