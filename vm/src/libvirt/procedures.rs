//! What libvirt is asked and what it answers: the few procedures of src/remote/remote_protocol.x that are needed. Pure.

use super::xdr::{Decoder, Encoder, XdrError};

/// How long a text may be (REMOTE_STRING_MAX), and how many of something there may be (REMOTE_DOMAIN_LIST_MAX and others).
const MAX_TEXT: u32 = 4 << 20;
const MAX_DOMAINS: u32 = 16_384;
const MAX_PARAMETERS: u32 = 4096;
const MAX_AUTH_TYPES: u32 = 20;

/// Something that libvirt can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Procedure {
    /// Its number.
    pub(crate) number: i32,
    /// What it does, in words.
    pub(crate) name: &'static str,
}

const fn procedure(number: i32, name: &'static str) -> Procedure {
    Procedure { number, name }
}

/// How somebody has to prove who they are.
pub(crate) const AUTH_LIST: Procedure = procedure(66, "how to log in");
/// Begin.
pub(crate) const OPEN: Procedure = procedure(1, "open the hypervisor");
/// The definition of a domain.
pub(crate) const XML: Procedure = procedure(14, "get a definition");
/// Whether a domain has a definition of its own to be started from.
pub(crate) const IS_PERSISTENT: Procedure = procedure(151, "ask for persistence");
/// What a domain is busy with.
pub(crate) const JOB_INFO: Procedure = procedure(163, "ask for jobs");
/// Change its memory.
pub(crate) const SET_MEMORY: Procedure = procedure(204, "set memory");
/// Change where a vCPU runs.
pub(crate) const PIN_VCPU: Procedure = procedure(225, "pin a vCPU");
/// Change how often its balloon speaks.
pub(crate) const SET_PERIOD: Procedure = procedure(308, "set the period of memory's statistics");
/// Be told what happens.
pub(crate) const REGISTER: Procedure = procedure(316, "register for events");
/// The numbers of all domains.
pub(crate) const ALL_STATS: Procedure = procedure(344, "get statistics");

/// The event that a domain began or ended.
pub(crate) const LIFECYCLE: i32 = 318;
/// The keepalive's two.
pub(crate) const PING: i32 = 1;
/// The answer to it.
pub(crate) const PONG: i32 = 2;

/// Of the running domain, not of its definition (VIR_DOMAIN_AFFECT_LIVE).
const LIVE: u32 = 1;
/// Of the definition that it is started from (VIR_DOMAIN_XML_INACTIVE).
const INACTIVE: u32 = 2;
/// Domains that run; and what would have to wait for one is left out (VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE and _NOWAIT).
const ACTIVE_NOWAIT: u32 = 1 | 1 << 29;
/// Of states and of balloons (VIR_DOMAIN_STATS_STATE and _BALLOON).
const STATE_AND_BALLOON: u32 = 1 | 1 << 2;
/// Beginnings and ends (VIR_DOMAIN_EVENT_ID_LIFECYCLE).
const LIFECYCLE_EVENTS: i32 = 0;

/// How libvirt knows a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain {
    /// Its name.
    pub(crate) name: String,
    /// Its UUID.
    pub(crate) uuid: [u8; 16],
    /// Its number, which is another one each time that it is started.
    pub(crate) id: i32,
}

/// A number of a domain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Whole.
    Number(i128),
    /// Not whole.
    Real(f64),
    /// Text.
    Text(String),
}

/// The numbers of a domain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// Of which.
    pub(crate) domain: Domain,
    /// By their names.
    pub(crate) values: Vec<(String, Value)>,
}

/// A domain began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lifecycle {
    /// Which.
    pub(crate) domain: Domain,
    /// What happened (virDomainEventType).
    pub(crate) event: i32,
    /// Why (virDomainEventStoppedDetailType and others).
    pub(crate) detail: i32,
}

/// See [`OPEN`].
pub(crate) fn open(driver: &str) -> Vec<u8> {
    Encoder::default().i32(1).text(driver).u32(0).into_bytes()
}

/// See [`XML`]: of what runs, or of what it is started from.
pub(crate) fn xml(domain: &Domain, inactive: bool) -> Vec<u8> {
    let flags = if inactive { INACTIVE } else { 0 };
    about(domain).u32(flags).into_bytes()
}

/// See [`JOB_INFO`] and [`IS_PERSISTENT`].
pub(crate) fn only(domain: &Domain) -> Vec<u8> {
    about(domain).into_bytes()
}

/// See [`SET_MEMORY`].
pub(crate) fn set_memory(domain: &Domain, kib: u64) -> Vec<u8> {
    about(domain).u64(kib).u32(LIVE).into_bytes()
}

/// See [`SET_PERIOD`]; 0: never.
pub(crate) fn set_period(domain: &Domain, seconds: i32) -> Vec<u8> {
    about(domain).i32(seconds).u32(LIVE).into_bytes()
}

/// See [`PIN_VCPU`]: a bit for each CPU, the first one lowest.
pub(crate) fn pin_vcpu(domain: &Domain, vcpu: u32, cpus: &[u8]) -> Vec<u8> {
    let asked = about(domain).u32(vcpu).bytes(cpus);
    asked.u32(LIVE).into_bytes()
}

/// See [`REGISTER`]: of all domains.
pub(crate) fn register() -> Vec<u8> {
    let asked = Encoder::default().i32(LIFECYCLE_EVENTS);
    asked.i32(0).into_bytes()
}

/// See [`ALL_STATS`]: of all domains.
pub(crate) fn all_stats() -> Vec<u8> {
    let asked = Encoder::default().u32(0).u32(STATE_AND_BALLOON);
    asked.u32(ACTIVE_NOWAIT).into_bytes()
}

fn about(domain: &Domain) -> Encoder {
    let asked = Encoder::default().text(&domain.name);
    asked.fixed(&domain.uuid).i32(domain.id)
}

/// What is read of an answer.
pub(crate) type Answer<T> = fn(&mut Decoder<'_>) -> Result<T, XdrError>;

/// An answer as a whole.
///
/// # Errors
/// When it is none.
pub(crate) fn whole<T>(body: &[u8], read: Answer<T>) -> Result<T, XdrError> {
    let mut decoder = Decoder::new(body);
    let answer = read(&mut decoder)?;
    decoder.end()?;
    Ok(answer)
}

/// Nothing.
pub(crate) fn nothing(_: &mut Decoder<'_>) -> Result<(), XdrError> {
    Ok(())
}

/// A number.
pub(crate) fn number(decoder: &mut Decoder<'_>) -> Result<i32, XdrError> {
    decoder.i32()
}

/// A text.
pub(crate) fn text(decoder: &mut Decoder<'_>) -> Result<String, XdrError> {
    decoder.text(MAX_TEXT).map(str::to_owned)
}

/// How somebody can log in (remote_auth_type).
pub(crate) fn auth_types(decoder: &mut Decoder<'_>) -> Result<Vec<i32>, XdrError> {
    decoder.list(MAX_AUTH_TYPES, Decoder::i32)
}

/// What kind of job there is (virDomainJobType). How far it is does not matter.
pub(crate) fn job(decoder: &mut Decoder<'_>) -> Result<i32, XdrError> {
    let kind = decoder.i32()?;
    decoder.fixed(decoder.left())?;
    Ok(kind)
}

/// Why not: the message of a remote_error. The rest says the same in numbers.
pub(crate) fn error(decoder: &mut Decoder<'_>) -> Result<String, XdrError> {
    let (_code, _domain) = (decoder.i32()?, decoder.i32()?);
    let message = decoder.optional(text)?;
    decoder.fixed(decoder.left())?;
    Ok(message.unwrap_or_default())
}

/// The numbers of domains.
pub(crate) fn records(decoder: &mut Decoder<'_>) -> Result<Vec<Record>, XdrError> {
    decoder.list(MAX_DOMAINS, |decoder| {
        Ok(Record {
            domain: domain(decoder)?,
            values: decoder.list(MAX_PARAMETERS, parameter)?,
        })
    })
}

/// What happened to a domain.
pub(crate) fn lifecycle(decoder: &mut Decoder<'_>) -> Result<Lifecycle, XdrError> {
    let _callback = decoder.i32()?;
    Ok(Lifecycle {
        domain: domain(decoder)?,
        event: decoder.i32()?,
        detail: decoder.i32()?,
    })
}

fn domain(decoder: &mut Decoder<'_>) -> Result<Domain, XdrError> {
    let name = text(decoder)?;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(decoder.fixed(16)?);
    let id = decoder.i32()?;
    Ok(Domain { name, uuid, id })
}

/// A virTypedParameter.
fn parameter(decoder: &mut Decoder<'_>) -> Result<(String, Value), XdrError> {
    let name = text(decoder)?;
    let value = match decoder.i32()? {
        // A whole number, or a truth.
        1 | 6 => Value::Number(decoder.i32()?.into()),
        2 => Value::Number(decoder.u32()?.into()),
        3 => Value::Number(decoder.i64()?.into()),
        4 => Value::Number(decoder.u64()?.into()),
        5 => Value::Real(decoder.f64()?),
        7 => Value::Text(text(decoder)?),
        other => return Err(XdrError::Unknown(other)),
    };
    Ok((name, value))
}

impl Record {
    /// The whole number of this name, if there is one that is not negative.
    #[must_use]
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.values.iter().find_map(|(other, value)| match value {
            Value::Number(number) if other == name => u64::try_from(*number).ok(),
            _ => None,
        })
    }
}

impl Domain {
    /// Its UUID, as people write it.
    #[must_use]
    pub(crate) fn uuid_text(&self) -> String {
        let number = u128::from_be_bytes(self.uuid);
        let text = format!("{number:032x}");
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &text[part]);
        parts.join("-")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vm() -> Domain {
        let uuid = [
            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 1, 2, 3, 4, 5, 6, 7,
        ];
        Domain {
            name: "vm".to_owned(),
            uuid,
            id: 5,
        }
    }

    #[test]
    fn a_uuid_is_told_as_people_write_it() {
        assert_eq!(vm().uuid_text(), "01234567-89ab-cdef-0001-020304050607");
    }

    #[test]
    fn what_is_asked_of_a_domain_begins_with_it() {
        for asked in [
            xml(&vm(), true),
            only(&vm()),
            set_memory(&vm(), 7),
            set_period(&vm(), 3),
            pin_vcpu(&vm(), 1, &[2]),
        ] {
            let mut decoder = Decoder::new(&asked);
            assert_eq!(domain(&mut decoder).unwrap(), vm());
        }
        let asked = pin_vcpu(&vm(), 1, &[2, 3]);
        let expected = [0, 0, 0, 1, 0, 0, 0, 2, 2, 3, 0, 0, 0, 0, 0, 1];
        assert!(asked.ends_with(&expected), "{asked:?}");
        assert!(set_memory(&vm(), 7).ends_with(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1]));
    }

    #[test]
    fn the_message_of_an_error_is_read_and_the_rest_is_not_looked_at() {
        let encoder = Encoder::default()
            .i32(42)
            .i32(10)
            .i32(1)
            .text("Domain not found")
            .i32(2)
            .i32(0)
            .i32(1)
            .text("x");
        assert_eq!(
            whole(&encoder.into_bytes(), error).unwrap(),
            "Domain not found"
        );
    }

    #[test]
    fn numbers_of_every_kind_are_read() {
        let mut encoder = Encoder::default()
            .u32(1)
            .text("vm")
            .fixed(&vm().uuid)
            .i32(5)
            .u32(5);
        encoder = encoder.text("state.state").i32(1).i32(3);
        encoder = encoder.text("balloon.current").i32(4).u64(u64::MAX);
        encoder = encoder.text("a").i32(7).text("b");
        encoder = encoder.text("c").i32(5).u64(1.5f64.to_bits());
        encoder = encoder.text("d").i32(3).u64(u64::MAX);
        let [record] = &whole(&encoder.into_bytes(), records).unwrap()[..] else {
            panic!("there is one")
        };
        assert_eq!(record.domain, vm());
        assert_eq!(record.number("state.state"), Some(3));
        assert_eq!(record.number("balloon.current"), Some(u64::MAX));
        assert_eq!(record.values[3].1, Value::Real(1.5));
        // Negative, or no number.
        assert_eq!((record.number("d"), record.number("a")), (None, None));
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read_or_refused(bytes: Vec<u8>) {
            let _ = whole(&bytes, records);
            let _ = whole(&bytes, lifecycle);
            let _ = whole(&bytes, error);
            let _ = whole(&bytes, job);
            let _ = whole(&bytes, auth_types);
        }
    }
}
