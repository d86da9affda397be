//! Batches of records in columns. Records are appended to a [`BatchBuilder`], which seals them into a [`Batch`].
//!
//! Keys and values are 16-byte views in the layout of Arrow's binary view arrays. The views point into buffers.
//! [`BatchBuilder::push`] copies the bytes into a buffer once; records in [shared](BatchBuilder::share) buffers are not
//! copied. Lanes, offsets and times are stored as ranges of rows.

#[cfg(feature = "arrow")]
mod arrow;
mod buffer;
mod builder;
mod columns;
mod ring;
mod sealed;
pub(crate) mod view;

pub(crate) use buffer::Buffers;
pub use builder::{BatchBuilder, BufferIndex, SharedRecord};
pub use columns::Run;
pub(crate) use columns::Validity;
pub use sealed::Batch;

/// The headers of a record: names and values in order. A value can be null.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record to append to a batch. A key or value of `None` is Kafka's null, which differs from an empty one.
#[derive(Debug, Clone, Default)]
pub struct Record<'a> {
    /// The offset in the partition.
    pub offset: i64,
    /// The timestamp in milliseconds since the epoch; `None` if the record has none.
    pub timestamp_ms: Option<i64>,
    /// The creation time in nanoseconds on the engine's clock; negative if before the start of the engine.
    pub arrival_ns: i64,
    /// The key; `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for null.
    pub value: Option<&'a [u8]>,
    /// The headers, if the record has any.
    pub headers: Option<Headers>,
}

impl Record<'_> {
    /// Returns the number of bytes of the key and the value. The size of a batch in bytes is the sum over its records.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        (self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)) as u64
    }
}
