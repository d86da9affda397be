//! Records as columns: appended to a [`BatchBuilder`] one by one, sealed into a [`Batch`].
//!
//! Keys and values are 16-byte views in the layout of Arrow's binary view arrays. Their bytes are in buffers: copied
//! there once by [`BatchBuilder::push`], or left in memory that was [shared](BatchBuilder::share). Whatever neighbours
//! have in common (lane, consecutive offsets, times) is kept as ranges of rows.

mod buffer;
mod builder;
mod columns;
mod ring;
mod sealed;
mod view;

pub use builder::{BatchBuilder, BufferIndex, SharedRecord};
pub use columns::Run;
pub use sealed::Batch;

/// A record's headers: names and values, in order; a value may be null.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record on its way into a batch. `None` is Kafka's null, which is not an empty text.
#[derive(Debug, Clone, Default)]
pub struct Record<'a> {
    /// Its offset in its partition.
    pub offset: i64,
    /// Milliseconds since the epoch, `None` where the record has none.
    pub timestamp_ms: Option<i64>,
    /// Nanoseconds on the engine's clock at which it came into being; negative before the start.
    pub arrival_ns: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers, if there are any.
    pub headers: Option<Headers>,
}

impl Record<'_> {
    /// Bytes of key and value, which is what a batch's size in bytes counts.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        (self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)) as u64
    }
}
