//! Reads the primitive types of Kafka's protocol: bytes in, numbers, strings and ranges out.
//!
//! Every length is checked against the bytes that are left, so that a length that lies is an error and never memory.

use std::ops::Range;

/// Bytes that are no message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The bytes end within a field.
    #[error("{what} ends early: {missing} more bytes expected")]
    Short {
        /// The field.
        what: &'static str,
        /// The number of bytes that are missing.
        missing: usize,
    },
    /// A field has a value that it cannot have.
    #[error("{what} is {value}, which is not possible")]
    Impossible {
        /// The field.
        what: &'static str,
        /// Its value.
        value: i64,
    },
}

/// A position in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns a cursor over a range of `bytes` whose positions are those in `bytes`.
    pub(crate) fn within(bytes: &'a [u8], range: Range<usize>) -> Self {
        let bytes = &bytes[..range.end.min(bytes.len())];
        Self { bytes, at: range.start.min(bytes.len()) }
    }

    /// Returns the position of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Returns the number of bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Passes `length` bytes and returns where they are.
    pub(crate) fn skip(&mut self, length: usize, what: &'static str) -> Result<Range<usize>, Malformed> {
        if length > self.left() {
            return Err(Malformed::Short { what, missing: length - self.left() });
        }
        let range = self.at..self.at + length;
        self.at = range.end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        match self.bytes.get(self.at..).and_then(|left| left.first_chunk()) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(Malformed::Short { what, missing: N - self.left() }),
        }
    }

    pub(crate) fn i8(&mut self, what: &'static str) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i16(&mut self, what: &'static str) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn uuid(&mut self, what: &'static str) -> Result<u128, Malformed> {
        Ok(u128::from_be_bytes(self.array(what)?))
    }

    /// Reads a variable-length unsigned number of at most 64 bits.
    #[inline]
    pub(crate) fn uvarint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        match self.bytes.get(self.at) {
            // Most numbers of a record have one byte.
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_uvarint(what),
        }
    }

    fn long_uvarint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Impossible { what, value: value.cast_signed() })
    }

    /// Reads a variable-length signed number of at most 64 bits (zigzag).
    #[inline]
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let raw = self.uvarint(what)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Reads a signed length and passes its bytes; `None` for null, whose length is -1.
    #[inline]
    pub(crate) fn varint_bytes(&mut self, what: &'static str) -> Result<Option<Range<usize>>, Malformed> {
        let length = self.varint(what)?;
        self.nullable(length, what)
    }

    #[inline]
    fn nullable(&mut self, length: i64, what: &'static str) -> Result<Option<Range<usize>>, Malformed> {
        match usize::try_from(length) {
            Ok(length) => self.skip(length, what).map(Some),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(Malformed::Impossible { what, value: length }),
        }
    }

    /// Reads the length of a field and passes the field. `flexible` encodings write the length plus one.
    pub(crate) fn bytes(
        &mut self,
        flexible: bool,
        what: &'static str,
    ) -> Result<Option<Range<usize>>, Malformed> {
        let length = if flexible { self.compact_length(what)? } else { i64::from(self.i32(what)?) };
        self.nullable(length, what)
    }

    /// Reads a string; `None` for null.
    pub(crate) fn string(&mut self, flexible: bool, what: &'static str) -> Result<Option<String>, Malformed> {
        let length = if flexible { self.compact_length(what)? } else { i64::from(self.i16(what)?) };
        let range = self.nullable(length, what)?;
        Ok(range.map(|range| String::from_utf8_lossy(&self.bytes[range]).into_owned()))
    }

    fn compact_length(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let raw = self.uvarint(what)?;
        i64::try_from(raw).map(|raw| raw - 1).map_err(|_| Malformed::Impossible { what, value: i64::MAX })
    }

    /// Reads an array, null as empty. Elements take at least one byte each, so an array has no more than are left.
    pub(crate) fn items<T>(
        &mut self,
        flexible: bool,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = if flexible { self.compact_length(what)? } else { i64::from(self.i32(what)?) };
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Reads the tagged fields at the end of a structure, if the encoding is `flexible`, and hands each to `field`.
    pub(crate) fn tags(
        &mut self,
        flexible: bool,
        mut field: impl FnMut(u64, &mut Cursor<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if !flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint("the number of tagged fields")? {
            let tag = self.uvarint("a tag")?;
            let length = self.uvarint("the length of a tagged field")?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let range = self.skip(length, "a tagged field")?;
            field(tag, &mut Cursor::within(self.bytes, range))?;
        }
        Ok(())
    }

    /// Passes the tagged fields at the end of a structure.
    pub(crate) fn skip_tags(&mut self, flexible: bool) -> Result<(), Malformed> {
        self.tags(flexible, |_, _| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read() {
        for (bytes, number) in [
            (vec![0], 0),
            (vec![1], -1),
            (vec![2], 1),
            (vec![0xd8, 0x04], 300),
            (vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], i64::MIN),
            (vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], i64::MAX),
        ] {
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.varint("it"), Ok(number), "{bytes:x?}");
            assert_eq!(cursor.left(), 0);
        }
        let endless = [0xff; 11];
        assert!(matches!(Cursor::new(&endless).uvarint("it"), Err(Malformed::Impossible { .. })));
        assert!(matches!(Cursor::new(&endless[..4]).uvarint("it"), Err(Malformed::Short { .. })));
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        let mut compact = Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]);
        let error = compact.items(true, "items", |cursor| cursor.i8("item")).unwrap_err();
        assert_eq!(error, Malformed::Short { what: "item", missing: 1 });
        let mut plain = Cursor::new(&[0x7f, 0xff, 0xff, 0xff, 1]);
        assert!(plain.bytes(false, "value").is_err());
        let mut negative = Cursor::new(&[0xff, 0xfe]);
        assert_eq!(negative.string(false, "name"), Err(Malformed::Impossible { what: "name", value: -2 }));
        let mut tags = Cursor::new(&[1, 0, 200, 1, 0]);
        assert!(tags.skip_tags(true).is_err());
    }

    #[test]
    fn null_differs_from_empty() {
        assert_eq!(Cursor::new(&[0]).string(true, "name"), Ok(None));
        assert_eq!(Cursor::new(&[1]).string(true, "name"), Ok(Some(String::new())));
        assert_eq!(Cursor::new(&[1]).varint_bytes("key"), Ok(None));
        assert_eq!(Cursor::new(&[0]).varint_bytes("key"), Ok(Some(1..1)));
    }
}
