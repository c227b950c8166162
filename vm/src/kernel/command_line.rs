//! Which guest a QEMU was started for, as its command line has it. Pure.

use std::collections::BTreeMap;

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartedFor {
    uuid: Option<String>,
    name: Option<String>,
}

impl StartedFor {
    /// That of these words, each of which ends with a zero.
    #[must_use]
    pub fn of_command(command: &str) -> Self {
        let mut of = Self::default();
        let mut words = command.split('\0');
        while let Some(word) = words.next() {
            match word {
                "-uuid" => of.uuid = words.next().map(str::to_owned),
                "-name" => of.name = words.next().map(name_of),
                _ => {}
            }
        }
        of
    }

    /// Which of these that is, as [`Self::is`] has it.
    #[must_use]
    pub fn find<'g, T>(
        &self,
        by_uuid: &'g BTreeMap<String, T>,
        by_name: &'g BTreeMap<String, T>,
    ) -> Option<&'g T> {
        match &self.uuid {
            Some(given) => by_uuid.get(given),
            None => by_name.get(self.name.as_ref()?),
        }
    }

    /// Whether that is this guest: by its UUID where it was given one, and else by its name.
    #[must_use]
    pub fn is(&self, uuid: &str, name: &str) -> bool {
        match &self.uuid {
            Some(given) => given == uuid,
            None => self.name.as_deref() == Some(name),
        }
    }
}

/// `guest=NAME,debug-threads=on` or `NAME`, where a comma of the name is written twice.
fn name_of(value: &str) -> String {
    let value = value.strip_prefix("guest=").unwrap_or(value);
    let mut name = String::new();
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == ',' && letters.next_if_eq(&',').is_none() {
            break;
        }
        name.push(letter);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qemu_is_started_for_a_uuid_or_else_for_a_name() {
        let of = StartedFor::of_command;
        let both = of("qemu\0-name\0guest=mail,debug-threads=on\0-S\0-uuid\0abc\0");
        assert!(both.is("abc", "other") && !both.is("ab", "mail"));
        for command in [
            "qemu\0-name\0guest=mail,debug-threads=on\0",
            "qemu\0-name\0mail\0-S\0",
        ] {
            assert!(of(command).is("abc", "mail"), "{command}");
            assert!(!of(command).is("abc", "mai"), "{command}");
        }
        let comma = of("qemu\0-name\0guest=a,,b,debug-threads=on\0");
        assert!(comma.is("", "a,b") && !comma.is("", "a"));
        let guests = |known_by: &str, at: u32| BTreeMap::from([(known_by.to_owned(), at)]);
        let (by_uuid, by_name) = (guests("abc", 1), guests("mail", 2));
        assert_eq!(both.find(&by_uuid, &by_name), Some(&1));
        assert_eq!(of("qemu\0-name\0mail\0").find(&by_uuid, &by_name), Some(&2));
        assert_eq!(
            of("qemu\0-uuid\0x\0-name\0mail\0").find(&by_uuid, &by_name),
            None
        );
        assert_eq!(of("vi\0").find(&by_uuid, &by_name), None);
        // The name of a guest may look like an option.
        let odd = of("qemu\0-name\0-uuid\0-uuid\0abc\0");
        assert!(odd.is("abc", "-uuid"));
        for other in ["", "vi\0", "qemu\0-name"] {
            assert!(!of(other).is("abc", "mail"), "{other}");
        }
    }
}
