//! Buffers that views point into: buffers that the batch fills, and shared buffers.

use bytes::Bytes;

use super::view::{self, INLINE, Place};

/// The size at which a batch starts a new buffer, in bytes. The offset of a view could reach 4 GiB. The first buffer of
/// a batch grows to this size. Later buffers are allocated with it, so that they are never copied to grow.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// A buffer of a batch.
#[derive(Debug)]
pub(super) enum Buffer {
    /// A buffer that is filled by copying. Its memory is reused after its batch is dropped.
    Own(Vec<u8>),
    /// A buffer from elsewhere, such as a broker's response. It lives until the last batch that has it is dropped.
    Shared(Bytes),
}

impl Buffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Returns the number of bytes of memory that the buffer keeps allocated.
    pub(super) fn pinned_bytes(&self) -> u64 {
        match self {
            Self::Own(bytes) => bytes.capacity() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
        }
    }
}

/// Returns the bytes that a view refers to.
pub(super) fn bytes_of<'a>(view: &'a u128, buffers: &'a [Buffer]) -> &'a [u8] {
    match view::place(view) {
        Place::Inline(bytes) => bytes,
        Place::Buffer(index, range) => &buffers[index].as_slice()[range],
    }
}

/// The buffers of an open batch or of the output of a processor.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The buffers. All buffers after `filling` are empty.
    pub(super) list: Vec<Buffer>,
    /// The index of the buffer that is filled by copying.
    filling: usize,
}

impl Buffers {
    /// Empties the own buffers of a list, so that they can be filled again, and drops the shared ones.
    pub(super) fn of(list: Vec<Buffer>) -> Self {
        let mut buffers = Self { list, filling: 0 };
        buffers.empty();
        buffers
    }

    /// Returns the list and replaces it by the list of `next`.
    pub(super) fn replace(&mut self, next: Self) -> Vec<Buffer> {
        std::mem::replace(self, next).list
    }

    /// Copies bytes and returns their view.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> u128 {
        if bytes.len() <= INLINE {
            return view::inline(bytes);
        }
        let filled = self.list.get(self.filling).map_or(0, |buffer| buffer.as_slice().len());
        if filled + bytes.len() > BUFFER_BYTES && filled > 0 {
            self.filling += 1;
        }
        if self.filling == self.list.len() {
            let further = if self.list.is_empty() { 0 } else { BUFFER_BYTES };
            self.list.push(Buffer::Own(Vec::with_capacity(further.max(bytes.len()))));
        }
        let Buffer::Own(buffer) = &mut self.list[self.filling] else {
            unreachable!("the buffer that is filled is not shared")
        };
        let view = view::pointing(bytes, self.filling, buffer.len());
        buffer.extend_from_slice(bytes);
        view
    }

    /// Adds a shared buffer and returns its index.
    pub(super) fn share(&mut self, buffer: Bytes) -> usize {
        // All buffers after the shared one are empty, so it is inserted before the next buffer to fill.
        let started = self.list.get(self.filling).is_some_and(|buffer| !buffer.as_slice().is_empty());
        let index = self.filling + usize::from(started);
        self.list.insert(index, Buffer::Shared(buffer));
        self.filling = index + 1;
        index
    }

    /// Appends the buffers of `other`. Returns the number to add to the buffer indices in its views.
    pub(crate) fn append(&mut self, other: Self) -> usize {
        let moved = self.list.len();
        self.list.extend(other.list);
        self.filling = self.list.len();
        moved
    }

    /// Returns the bytes of a view.
    pub(crate) fn bytes<'a>(&'a self, view: &'a u128) -> &'a [u8] {
        bytes_of(view, &self.list)
    }

    /// Removes all bytes. The memory of own buffers is kept.
    fn empty(&mut self) {
        self.filling = 0;
        self.list.retain_mut(|buffer| match buffer {
            Buffer::Own(bytes) => {
                bytes.clear();
                true
            }
            Buffer::Shared(_) => false,
        });
    }

    /// Returns the number of bytes of memory that all buffers keep allocated.
    pub(super) fn pinned_bytes(&self) -> u64 {
        self.list.iter().map(Buffer::pinned_bytes).sum()
    }
}
