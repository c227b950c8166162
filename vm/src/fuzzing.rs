//! What must hold of whatever libvirt's daemon and QEMU answer; the fuzz target in `fuzz/` calls it. Making up answers is left to
//! `fuzz`.

use crate::libvirt::definition::Definition;
use crate::libvirt::message::{decode, encode};
use crate::libvirt::procedures::{auth_types, error, job, lifecycle, number, records, text, whole};
use crate::qmp::line::parse;

/// The bytes of a stream from libvirt, each of whose messages may be the answer to anything; if they are none, a definition or lines of
/// QMP. What is understood of a message is what it was made of.
pub fn answers(data: &[u8]) {
    let mut left = data;
    while let Ok(Some((message, taken))) = decode(left) {
        assert!(taken <= left.len());
        let again = encode(message.header, message.body);
        // It is filled up to a whole number of words.
        assert!(again.starts_with(&left[..taken]));
        let body = message.body;
        let _ = whole(body, auth_types);
        let _ = whole(body, error);
        let _ = whole(body, job);
        let _ = whole(body, number);
        let _ = whole(body, text);
        if let Ok(event) = whole(body, lifecycle) {
            assert_eq!(event.domain.uuid_text().len(), 36);
        }
        for record in whole(body, records).unwrap_or_default() {
            // What is told of a domain takes room in the message.
            assert!(record.values.len() <= body.len() / 8);
        }
        left = &left[taken..];
    }
    if let Ok(text) = str::from_utf8(data) {
        match Definition::read(text) {
            Ok(definition) => assert!(definition.period.is_none_or(|period| !period.is_zero())),
            Err(error) => assert!(error.to_string().len() < 1000),
        }
    }
    for line in data.split(|byte| *byte == b'\n') {
        let _ = parse(line);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_fuzzing_found_stays_found() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/guests");
        let inputs = fs::read_dir(corpus).unwrap();
        let paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
        assert!(!paths.is_empty());
        for path in paths {
            println!("{}", path.display());
            answers(&fs::read(path).unwrap());
        }
    }
}
