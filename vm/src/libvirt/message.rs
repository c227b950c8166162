//! Messages as they go over libvirt's socket: a length, a header, and what it is about (docs/kbase/internals/rpc.rst in libvirt's
//! source). Pure.

use super::xdr::{Decoder, Encoder, XdrError};

/// libvirt's own limit (VIR_NET_MESSAGE_LEN_MAX in src/rpc/virnetprotocol.x).
pub(crate) const MAX_MESSAGE: u32 = 32 << 20;

/// The program that drives domains (REMOTE_PROGRAM in src/remote/remote_protocol.x), and its version.
pub(crate) const REMOTE: u32 = 0x2000_8086;
/// The program by which both sides learn that the other is alive (KEEPALIVE_PROGRAM in src/rpc/virkeepaliveprotocol.x).
pub(crate) const KEEPALIVE: u32 = 0x6b65_6570;
/// The version of either.
pub(crate) const VERSION: u32 = 1;

/// What the length itself takes, and the header.
const LENGTH: usize = 4;
const HEADER: usize = 24;

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something is asked.
    Call,
    /// It is answered.
    Reply,
    /// Something is told.
    Event,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Of which program.
    pub(crate) program: u32,
    /// Which of its procedures.
    pub(crate) procedure: i32,
    /// What kind it is.
    pub(crate) kind: Kind,
    /// To which call a reply belongs.
    pub(crate) serial: u32,
    /// Of a reply: it says why not.
    pub(crate) is_error: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<'b> {
    /// What it is about.
    pub(crate) header: Header,
    /// The rest.
    pub(crate) body: &'b [u8],
}

/// A message in bytes.
#[must_use]
pub(crate) fn encode(header: Header, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(LENGTH + HEADER + body.len());
    let kind = match header.kind {
        Kind::Call => 0,
        Kind::Reply => 1,
        Kind::Event => 2,
    };
    Encoder::default()
        .u32(length.expect("nothing that is written is so long"))
        .u32(header.program)
        .u32(VERSION)
        .i32(header.procedure)
        .i32(kind)
        .u32(header.serial)
        .i32(i32::from(header.is_error))
        .fixed(body)
        .into_bytes()
}

/// The first message in these bytes, with how many of them it takes; `None` while it is not there as a whole.
///
/// # Errors
/// When they are none. It cannot be known then where the next one begins.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>, XdrError> {
    let mut decoder = Decoder::new(bytes);
    if bytes.len() < LENGTH {
        return Ok(None);
    }
    let length = decoder.length(MAX_MESSAGE)?;
    if length < LENGTH + HEADER {
        return Err(XdrError::Short);
    }
    let Some(whole) = bytes.get(LENGTH..length) else {
        return Ok(None);
    };
    let mut decoder = Decoder::new(whole);
    let program = decoder.u32()?;
    let version = decoder.i32()?;
    if u32::try_from(version) != Ok(VERSION) {
        return Err(XdrError::Unknown(version));
    }
    let procedure = decoder.i32()?;
    let kind = match decoder.i32()? {
        0 => Kind::Call,
        1 => Kind::Reply,
        2 => Kind::Event,
        other => return Err(XdrError::Unknown(other)),
    };
    let serial = decoder.u32()?;
    let is_error = match decoder.i32()? {
        0 => false,
        1 => true,
        other => return Err(XdrError::Unknown(other)),
    };
    let header = Header {
        program,
        procedure,
        kind,
        serial,
        is_error,
    };
    let body = &whole[HEADER..];
    Ok(Some((Message { header, body }, length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_out_of_a_stream_as_they_went_in(
            procedure: i32, serial: u32, is_error: bool, kind in 0..3usize,
            words in proptest::collection::vec(any::<u32>(), 0..40), cut in 0..27usize
        ) {
            let kind = [Kind::Call, Kind::Reply, Kind::Event][kind];
            let header = Header { program: REMOTE, procedure, kind, serial, is_error };
            let body: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            let mut stream = encode(header, &body);
            let whole = stream.len();
            prop_assert_eq!(decode(&stream[..whole - 1 - cut]), Ok(None));
            stream.extend([7; 9]);
            let message = Message { header, body: &body };
            prop_assert_eq!(decode(&stream), Ok(Some((message, whole))));
        }

        #[test]
        fn whatever_comes_there_is_an_answer(bytes: Vec<u8>) {
            if let Ok(Some((_, taken))) = decode(&bytes) {
                prop_assert!(taken >= LENGTH + HEADER && taken <= bytes.len());
            }
        }
    }

    #[test]
    fn what_is_no_message_is_refused_at_once() {
        // Longer than any, and shorter than its own header.
        assert!(decode(&[0xff; 4]).is_err());
        assert_eq!(decode(&[0, 0, 0, 27]), Err(XdrError::Short));
    }
}
