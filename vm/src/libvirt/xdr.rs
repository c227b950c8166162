//! XDR (RFC 4506) as far as libvirt uses it: numbers of four and eight bytes, and texts, bytes and lists of a length that comes
//! before them.

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XdrError {
    /// They end too soon.
    #[error("it is too short")]
    Short,
    /// A length is beyond what the protocol allows.
    #[error("a length of {length} is more than {limit}")]
    Long {
        /// The length.
        length: u32,
        /// The most that may be.
        limit: u32,
    },
    /// A text is none.
    #[error("a text is not UTF-8")]
    Text,
    /// Something stands for nothing.
    #[error("{0} stands for nothing")]
    Unknown(i32),
    /// There is more than should be.
    #[error("{0} bytes too many")]
    Rest(usize),
}

/// Bytes that are being written.
#[derive(Debug, Default)]
pub(crate) struct Encoder(Vec<u8>);

/// Bytes that are being read.
#[derive(Debug)]
pub(crate) struct Decoder<'b>(&'b [u8]);

/// Everything is filled up to multiples of so many bytes.
const UNIT: usize = 4;

impl Encoder {
    /// What was written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Writes a number.
    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Writes a number.
    pub(crate) fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Writes a number.
    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Writes so many bytes as both sides know.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(UNIT), 0);
        self
    }

    /// Writes bytes with their length.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).expect("nothing that is written is so long");
        self.u32(length).fixed(bytes)
    }

    /// Writes a text with its length.
    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }
}

impl<'b> Decoder<'b> {
    /// Begins to read these bytes.
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read yet, in bytes.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// Ends here.
    pub(crate) fn end(&self) -> Result<(), XdrError> {
        match self.0.len() {
            0 => Ok(()),
            rest => Err(XdrError::Rest(rest)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(XdrError::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    /// Reads a number.
    pub(crate) fn u32(&mut self) -> Result<u32, XdrError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a number.
    pub(crate) fn i32(&mut self) -> Result<i32, XdrError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Reads a number.
    pub(crate) fn u64(&mut self) -> Result<u64, XdrError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads a number.
    pub(crate) fn i64(&mut self) -> Result<i64, XdrError> {
        self.array().map(i64::from_be_bytes)
    }

    /// Reads a number.
    pub(crate) fn f64(&mut self) -> Result<f64, XdrError> {
        self.array().map(f64::from_be_bytes)
    }

    /// Reads so many bytes.
    pub(crate) fn fixed(&mut self, length: usize) -> Result<&'b [u8], XdrError> {
        let filled = length
            .checked_next_multiple_of(UNIT)
            .ok_or(XdrError::Short)?;
        let (bytes, rest) = self.0.split_at_checked(filled).ok_or(XdrError::Short)?;
        self.0 = rest;
        Ok(&bytes[..length])
    }

    /// Reads the length of something, which is at most `limit`.
    pub(crate) fn length(&mut self, limit: u32) -> Result<usize, XdrError> {
        let length = self.u32()?;
        if length > limit {
            return Err(XdrError::Long { length, limit });
        }
        Ok(length as usize)
    }

    /// Reads bytes with their length, which is at most `limit`.
    pub(crate) fn bytes(&mut self, limit: u32) -> Result<&'b [u8], XdrError> {
        let length = self.length(limit)?;
        self.fixed(length)
    }

    /// Reads a text with its length, which is at most `limit`.
    pub(crate) fn text(&mut self, limit: u32) -> Result<&'b str, XdrError> {
        std::str::from_utf8(self.bytes(limit)?).map_err(|_| XdrError::Text)
    }

    /// Reads what may be there.
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, XdrError>,
    ) -> Result<Option<T>, XdrError> {
        match self.i32()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            other => Err(XdrError::Unknown(other)),
        }
    }

    /// Reads a list with its length, which is at most `limit`.
    pub(crate) fn list<T>(
        &mut self,
        limit: u32,
        mut read: impl FnMut(&mut Self) -> Result<T, XdrError>,
    ) -> Result<Vec<T>, XdrError> {
        // Room is made as it is needed: a length costs its sender nothing.
        let mut list = Vec::new();
        for _ in 0..self.length(limit)? {
            list.push(read(self)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_big_endian_and_the_rest_is_filled_up() {
        let encoder = Encoder::default()
            .u32(1)
            .i32(-2)
            .u64(3)
            .text("abcde")
            .fixed(&[9]);
        let bytes = encoder.into_bytes();
        let expected = [
            0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 5, b'a', b'b',
            b'c', b'd', b'e', 0, 0, 0, 9, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_is_too_long_or_cut_off_is_refused() {
        let long = [0, 0, 1, 0, 1, 2];
        let text = |limit| Decoder::new(&long).text(limit);
        let refused = XdrError::Long {
            length: 256,
            limit: 255,
        };
        assert_eq!(text(255), Err(refused));
        assert_eq!(text(256), Err(XdrError::Short));
        assert_eq!(Decoder::new(&[0, 0, 0]).u32(), Err(XdrError::Short));
        let not_text = [0, 0, 0, 1, 0xff, 0, 0, 0];
        assert_eq!(Decoder::new(&not_text).text(9), Err(XdrError::Text));
        let two = [0, 0, 0, 2];
        let read = Decoder::new(&two).optional(Decoder::u32);
        assert_eq!(read, Err(XdrError::Unknown(2)));
        assert_eq!(Decoder::new(&two).end(), Err(XdrError::Rest(4)));
        // A list of very many says so and has none.
        let many = [0xff; 4];
        assert_eq!(
            Decoder::new(&many).list(u32::MAX, Decoder::u64),
            Err(XdrError::Short)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            number: u32, signed: i32, large: u64, text in ".{0,40}", bytes: Vec<u8>, list: Vec<u64>, some: Option<u32>
        ) {
            let mut encoder = Encoder::default().u32(number).i32(signed).u64(large).text(&text).bytes(&bytes).fixed(&bytes);
            encoder = encoder.u32(u32::try_from(list.len()).unwrap());
            for one in &list {
                encoder = encoder.u64(*one);
            }
            encoder = encoder.i32(i32::from(some.is_some()));
            if let Some(some) = some {
                encoder = encoder.u32(some);
            }
            let written = encoder.into_bytes();
            prop_assert_eq!(written.len() % UNIT, 0);
            let mut decoder = Decoder::new(&written);
            prop_assert_eq!(decoder.u32().unwrap(), number);
            prop_assert_eq!(decoder.i32().unwrap(), signed);
            prop_assert_eq!(decoder.u64().unwrap(), large);
            prop_assert_eq!(decoder.text(1000).unwrap(), text);
            prop_assert_eq!(decoder.bytes(1000).unwrap(), &bytes[..]);
            prop_assert_eq!(decoder.fixed(bytes.len()).unwrap(), &bytes[..]);
            prop_assert_eq!(decoder.list(1000, Decoder::u64).unwrap(), list);
            prop_assert_eq!(decoder.optional(Decoder::u32).unwrap(), some);
            prop_assert!(decoder.end().is_ok());
        }

        #[test]
        fn whatever_is_read_there_is_an_answer(bytes: Vec<u8>) {
            let mut decoder = Decoder::new(&bytes);
            while decoder.left() > 0 {
                let before = decoder.left();
                let text = decoder.text(64).is_ok();
                if !text && decoder.left() == before && decoder.u32().is_err() {
                    break;
                }
            }
        }
    }
}
