//! The lines of QMP, each a JSON object (docs/interop/qmp-spec.rst in QEMU's source), and what of them is needed. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::snapshot::Mib;

const MIB: f64 = 1024.0 * 1024.0;

/// A line that QEMU sends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// The first one.
    Greeting,
    /// The answer to the command with this number: what it returns, or why it does not.
    Reply(u64, Result<Value, String>),
    /// Something happened.
    Event(String),
}

#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

/// The line in this text, if it is one.
pub(crate) fn parse(text: &[u8]) -> serde_json::Result<Line> {
    #[derive(Deserialize)]
    struct Any {
        #[serde(rename = "QMP")]
        greeting: Option<Value>,
        #[serde(rename = "return")]
        returned: Option<Value>,
        error: Option<Refusal>,
        event: Option<String>,
        id: Option<u64>,
    }
    let any: Any = serde_json::from_slice(text)?;
    let number = any.id.unwrap_or(0);
    if any.greeting.is_some() {
        return Ok(Line::Greeting);
    }
    if let Some(event) = any.event {
        return Ok(Line::Event(event));
    }
    if let Some(error) = any.error {
        return Ok(Line::Reply(number, Err(error.desc)));
    }
    Ok(Line::Reply(number, Ok(any.returned.unwrap_or_default())))
}

/// A command with this number, as a line.
pub(crate) fn command(number: u64, name: &str, arguments: &Value) -> String {
    let mut command = serde_json::json!({"execute": name, "id": number});
    if !arguments.is_null() {
        command["arguments"] = arguments.clone();
    }
    format!("{command}\n")
}

/// One of `query-cpus-fast`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Cpu {
    /// The vCPU's number.
    pub(crate) cpu_index: u32,
    /// Its thread's.
    pub(crate) thread_id: u32,
}

/// One of `qom-list`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Child {
    /// What it is called.
    pub(crate) name: String,
    /// What it is: `child<virtio-balloon-pci>`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// `guest-stats` of a balloon.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct GuestStats {
    /// When the driver spoke, in seconds since 1970; 0: never.
    pub(crate) last_update: i64,
    stats: BTreeMap<String, Value>,
}

impl GuestStats {
    /// A number; what the driver does not know is told as -1, in 64 bits.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.stats
            .get(name)?
            .as_u64()
            .filter(|number| *number != u64::MAX)
    }

    /// An amount of memory.
    pub(crate) fn mib(&self, name: &str) -> Option<Mib> {
        Some(in_mib(self.count(name)?))
    }
}

/// So many bytes.
pub(crate) fn in_mib(bytes: u64) -> Mib {
    bytes as f64 / MIB
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_what_they_have() {
        let greeting = br#"{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}"#;
        assert_eq!(parse(greeting).unwrap(), Line::Greeting);
        let reply = br#"{"return": {"actual": 1}, "id": 7}"#;
        let expected = Line::Reply(7, Ok(serde_json::json!({"actual": 1})));
        assert_eq!(parse(reply).unwrap(), expected);
        let refused = br#"{"id": 8, "error": {"class": "GenericError", "desc": "no"}}"#;
        assert_eq!(
            parse(refused).unwrap(),
            Line::Reply(8, Err("no".to_owned()))
        );
        let event =
            br#"{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true}}"#;
        assert_eq!(parse(event).unwrap(), Line::Event("SHUTDOWN".to_owned()));
        assert!(parse(b"[]").is_err() && parse(b"{").is_err());
    }

    #[test]
    fn a_command_is_one_line() {
        let line = command(3, "balloon", &serde_json::json!({"value": 5}));
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            back,
            serde_json::json!({"execute": "balloon", "arguments": {"value": 5}, "id": 3})
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn what_a_driver_does_not_know_is_unknown() {
        let text = r#"{"stats": {"stat-free-memory": 2097152, "stat-disk-caches": 18446744073709551615}, "last-update": 9}"#;
        let stats: GuestStats = serde_json::from_str(text).unwrap();
        assert_eq!(stats.mib("stat-free-memory"), Some(2.0));
        assert_eq!(stats.mib("stat-disk-caches"), None);
        assert_eq!((stats.count("stat-oom-kill"), stats.last_update), (None, 9));
    }

    proptest! {
        #[test]
        fn whatever_comes_there_is_an_answer(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
