//! Views in the layout of Arrow's binary view arrays: bytes and a buffer in, 16 bytes out, and back.
//!
//! The low 4 bytes are the length. Up to 12 bytes stand in the view itself; of longer ones it has a prefix of 4 bytes,
//! the index of a buffer and the offset in it, all little-endian.

use super::buffer::Buffer;

/// Bytes that fit into a view.
pub(super) const INLINE: usize = 12;

/// Returns the view of bytes that fit into it.
pub(super) fn inline(bytes: &[u8]) -> u128 {
    debug_assert!(bytes.len() <= INLINE);
    let mut view = [0; 16];
    view[0] = u8::try_from(bytes.len()).expect("at most 12 bytes");
    view[4..4 + bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(view)
}

/// Returns the view of `bytes`, more than 12, which are at `offset` of the buffer `index`.
pub(super) fn pointing(bytes: &[u8], index: usize, offset: usize) -> u128 {
    debug_assert!(bytes.len() > INLINE);
    let word = |n: usize| u128::from(u32::try_from(n).expect("buffers are shorter than 4 GiB"));
    let prefix = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    word(bytes.len()) | u128::from(prefix) << 32 | word(index) << 64 | word(offset) << 96
}

/// Returns the length of a view's bytes.
pub(super) fn length(view: u128) -> u32 {
    word(view, 0)
}

/// Returns a view's bytes.
pub(super) fn bytes<'a>(view: &'a u128, buffers: &'a [Buffer]) -> &'a [u8] {
    let length = length(*view) as usize;
    if length <= INLINE {
        // Its bytes in memory are in this order on little-endian machines only, as Arrow has it.
        return &bytemuck::bytes_of(view)[4..4 + length];
    }
    let (index, offset) = (word(*view, 2) as usize, word(*view, 3) as usize);
    &buffers[index].as_slice()[offset..offset + length]
}

/// Returns one of the four words of a view.
fn word(view: u128, number: u32) -> u32 {
    (view >> (32 * number) & u128::from(u32::MAX)).try_into().expect("32 bits")
}

const _: () = assert!(cfg!(target_endian = "little"), "views are read as they stand in memory");
