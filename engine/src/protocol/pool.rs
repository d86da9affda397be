//! Memory that is used again: a size in, a buffer out; its memory comes back once nobody refers to it.
//!
//! Most of the cost of reading an answer into new memory is the kernel's, which clears every page of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The maximum number of bytes that are kept while nobody uses them.
const MOST_SPARE_BYTES: usize = 16 << 20;
/// A kept buffer is used for at least this part of its size, so that a few bytes do not pin many.
const LEAST_USE: usize = 4;
/// Buffers of fewer bytes are not kept: the allocator is quick with them.
const LEAST_BYTES: usize = 16 << 10;

/// Buffers for answers. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
    used_bytes: usize,
}

impl Pool {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a buffer for about `bytes` bytes: a kept one, whose old content it has, or an empty one.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut inner = self.inner();
        let fits = |spare: &&Vec<u8>| spare.len() >= bytes && spare.len() / LEAST_USE <= bytes;
        let best = inner.spare.iter().filter(fits).map(Vec::len).min();
        let index = best.and_then(|best| inner.spare.iter().position(|spare| spare.len() == best));
        let Some(index) = index else { return Vec::new() };
        let buffer = inner.spare.swap_remove(index);
        inner.spare_bytes -= buffer.capacity();
        buffer
    }

    /// Returns the first `length` bytes of a buffer, whose memory comes back to the pool once nobody refers to them.
    pub(crate) fn share(&self, buffer: Vec<u8>, length: usize) -> Bytes {
        self.inner().used_bytes += buffer.capacity();
        Bytes::from_owner(Shared { buffer, length, pool: self.clone() })
    }

    /// Returns a copy of these bytes.
    pub(crate) fn copy(&self, bytes: &[u8]) -> Bytes {
        let mut buffer = self.take(bytes.len());
        buffer.clear();
        buffer.extend_from_slice(bytes);
        self.share(buffer, bytes.len())
    }

    /// Returns the number of bytes of the buffers that somebody refers to.
    pub(crate) fn used_bytes(&self) -> usize {
        self.inner().used_bytes
    }
}

/// A buffer that somebody refers to.
struct Shared {
    buffer: Vec<u8>,
    length: usize,
    pool: Pool,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut inner = self.pool.inner();
        inner.used_bytes -= buffer.capacity();
        // The content stays, so that the memory does not need to be cleared when it is used again.
        if buffer.len() >= LEAST_BYTES && inner.spare_bytes + buffer.capacity() <= MOST_SPARE_BYTES {
            inner.spare_bytes += buffer.capacity();
            inner.spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_once_nobody_refers_to_it() {
        let pool = Pool::default();
        let whole = pool.share(vec![1; 100_000], 90_000);
        let part = whole.slice(10..20);
        assert_eq!((whole.len(), pool.used_bytes()), (90_000, 100_000));
        drop(whole);
        assert!(pool.take(90_000).is_empty(), "a part is still in use");
        drop(part);
        assert_eq!(pool.used_bytes(), 0);
        assert!(pool.take(1_000).is_empty(), "few bytes do not pin many");
        assert_eq!(pool.take(90_000).len(), 100_000);
        assert!(pool.take(90_000).is_empty(), "it is in use");
    }
}
