//! Memory that views point into: a batch's own, or shared with whoever received it.

use bytes::Bytes;

/// A buffer of a batch.
#[derive(Debug)]
pub(super) enum Buffer {
    /// Filled by copying; used again when its batch is gone.
    Own(Vec<u8>),
    /// Somebody else's: an answer of a broker. It lives as long as a batch has it.
    Shared(Bytes),
}

impl Buffer {
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Returns the bytes of memory that the buffer keeps from being used otherwise.
    pub fn pinned_bytes(&self) -> u64 {
        match self {
            Self::Own(bytes) => bytes.capacity() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
        }
    }
}
