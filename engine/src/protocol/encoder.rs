//! Writes the primitive types of Kafka's protocol: values in, bytes out.

/// A request that is written.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    /// True for the encoding of newer versions, with compact lengths and tagged fields.
    flexible: bool,
}

impl Encoder {
    pub(super) fn new(flexible: bool) -> Self {
        Self { bytes: Vec::new(), flexible }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.bytes.push(value.into());
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn uuid(&mut self, value: u128) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn uvarint(&mut self, mut value: usize) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.bytes.push(low & 0x7f);
            }
            self.bytes.push(low | 0x80);
        }
    }

    /// Writes a string in the encoding of request headers, which is never compact.
    pub(super) fn plain_string(&mut self, value: &str) {
        self.i16(i16::try_from(value.len()).unwrap_or(i16::MAX));
        let most = value.len().min(i16::MAX as usize);
        self.bytes.extend(&value.as_bytes()[..most]);
    }

    pub(super) fn string(&mut self, value: &str) {
        if self.flexible {
            self.uvarint(value.len() + 1);
            self.bytes.extend(value.as_bytes());
        } else {
            self.plain_string(value);
        }
    }

    pub(super) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None if self.flexible => self.uvarint(0),
            None => self.i16(-1),
        }
    }
    /// Writes bytes with their length.
    pub(super) fn byte_string(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend(value);
    }

    /// Writes the number of elements of an array.
    pub(super) fn length(&mut self, length: usize) {
        if self.flexible {
            self.uvarint(length + 1);
        } else {
            self.i32(i32::try_from(length).unwrap_or(i32::MAX));
        }
    }

    /// Ends a structure: it has no tagged fields.
    pub(super) fn no_tags(&mut self) {
        if self.flexible {
            self.uvarint(0);
        }
    }
}
