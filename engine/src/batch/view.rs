//! Views in the layout of Arrow's binary view arrays: 16 bytes that refer to a key or a value.
//!
//! The lowest 4 bytes are the length. Up to 12 bytes are stored in the view itself. For longer values the view has a
//! prefix of 4 bytes, the index of a buffer and the offset in the buffer. All numbers are little-endian.

use std::ops::Range;

/// The maximum number of bytes that are stored in a view.
pub(super) const INLINE: usize = 12;

/// Returns a view that stores at most 12 bytes itself.
pub(super) fn inline(bytes: &[u8]) -> u128 {
    debug_assert!(bytes.len() <= INLINE);
    let mut view = [0; 16];
    view[0] = u8::try_from(bytes.len()).expect("at most 12 bytes");
    view[4..4 + bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(view)
}

/// Returns a view of more than 12 `bytes`, which are at `offset` in the buffer with this index.
pub(super) fn pointing(bytes: &[u8], index: usize, offset: usize) -> u128 {
    debug_assert!(bytes.len() > INLINE);
    let word = |n: usize| u128::from(u32::try_from(n).expect("buffers are shorter than 4 GiB"));
    let prefix = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    word(bytes.len()) | u128::from(prefix) << 32 | word(index) << 64 | word(offset) << 96
}

/// Returns a view whose buffer index is increased by `by`. A view that stores its bytes itself is unchanged.
pub(crate) fn moved(view: u128, by: usize) -> u128 {
    let by = u32::try_from(by).expect("fewer than 2^32 buffers");
    if length(view) as usize <= INLINE { view } else { view + (u128::from(by) << 64) }
}

/// Returns the number of bytes that a view refers to.
pub(crate) fn length(view: u128) -> u32 {
    word(view, 0)
}

/// Where the bytes of a view are.
pub(super) enum Place<'a> {
    /// In the view.
    Inline(&'a [u8]),
    /// In the buffer with this index.
    Buffer(usize, Range<usize>),
}

/// Returns where the bytes of a view are.
pub(super) fn place(view: &u128) -> Place<'_> {
    let length = length(*view) as usize;
    if length <= INLINE {
        // As in Arrow, the bytes are in this order in memory only on little-endian machines.
        return Place::Inline(&bytemuck::bytes_of(view)[4..4 + length]);
    }
    let (index, offset) = (word(*view, 2) as usize, word(*view, 3) as usize);
    Place::Buffer(index, offset..offset + length)
}

/// Returns one of the four words of a view.
fn word(view: u128, number: u32) -> u32 {
    (view >> (32 * number) & u128::from(u32::MAX)).try_into().expect("32 bits")
}

const _: () = assert!(cfg!(target_endian = "little"), "views require a little-endian machine");
