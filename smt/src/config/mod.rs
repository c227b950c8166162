//! What is configured, in /etc/auto-ext/smt.yaml: its keys, their limits and what is so without them. What is wrong is said with
//! its line and column.

mod parse;
mod schema;
mod settings;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

pub use auto_ext_service::config_file::error::ConfigError;
use auto_ext_service::config_file::utf8::utf8;

pub use schema::json_schema;
pub use settings::Config;

/// Where it is.
pub const FILE: &str = "/etc/auto-ext/smt.yaml";
/// How large it may be, in bytes.
const MAX_SIZE: u64 = 64 << 10;

impl Config {
    /// What a file says; what is so without one, where there is none.
    ///
    /// # Errors
    /// When it cannot be read or something is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError::with_file(path, why);
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => {
                let read = file.take(MAX_SIZE + 1).read_to_end(&mut bytes);
                read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        }
        if bytes.len() as u64 > MAX_SIZE {
            return Err(wrong(format!("it is larger than {MAX_SIZE} bytes")));
        }
        let text = utf8(bytes).map_err(|problem| wrong(problem.message))?;
        Self::parse(path, &text)
    }

    /// What a text says that is called `path` in messages.
    ///
    /// # Errors
    /// When something is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        parse::parse(path, text)
    }
}
