//! Decompresses the records of a batch: the codec's number and compressed bytes in, bytes out, within a limit.

use std::io::Read;

use super::Unreadable;

/// The first bytes of snappy's framing in the Java client.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// The number of bytes before the first block of that framing: magic and two versions.
const XERIAL_HEADER: usize = 16;

/// No block of snappy becomes so many times as long: three bytes copy at most 64.
const MOST_SNAPPY_RATIO: usize = 64;

/// Appends the decompressed bytes to `into`, which may get at most `most` bytes longer.
///
/// # Errors
/// If the codec is unknown, the bytes are not what the codec writes, or they become too many.
pub(super) fn decompress(
    codec: i16,
    bytes: &[u8],
    most: usize,
    into: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    match codec {
        1 => read_all("gzip", flate2::read::MultiGzDecoder::new(bytes), most, into),
        2 => snappy(bytes, most, into),
        3 => read_all("lz4", lz4_flex::frame::FrameDecoder::new(bytes), most, into),
        4 => match zstd::stream::read::Decoder::with_buffer(bytes) {
            Ok(decoder) => read_all("zstd", decoder, most, into),
            Err(error) => Err(failed("zstd", &error)),
        },
        other => Err(Unreadable::Codec(other)),
    }
}

fn read_all(codec: &'static str, from: impl Read, most: usize, into: &mut Vec<u8>) -> Result<(), Unreadable> {
    let before = into.len();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_end(into).map_err(|error| failed(codec, &error))?;
    if into.len() - before > most { Err(Unreadable::Bomb { most }) } else { Ok(()) }
}

/// Decompresses snappy with or without the framing of the Java client.
fn snappy(bytes: &[u8], most: usize, into: &mut Vec<u8>) -> Result<(), Unreadable> {
    if !bytes.starts_with(XERIAL_MAGIC) {
        return block(bytes, most, into).map(drop);
    }
    let mut rest = bytes.get(XERIAL_HEADER..).ok_or_else(|| failed("snappy", &"it ends early"))?;
    let mut most = most;
    while !rest.is_empty() {
        let (length, after) =
            rest.split_first_chunk::<4>().ok_or_else(|| failed("snappy", &"it ends early"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (compressed, after) =
            after.split_at_checked(length).ok_or_else(|| failed("snappy", &"a block is longer than all"))?;
        most -= block(compressed, most, into)?;
        rest = after;
    }
    Ok(())
}

/// Decompresses a block of snappy. Returns its length.
fn block(bytes: &[u8], most: usize, into: &mut Vec<u8>) -> Result<usize, Unreadable> {
    let length = snap::raw::decompress_len(bytes).map_err(|error| failed("snappy", &error))?;
    if length > most {
        return Err(Unreadable::Bomb { most });
    }
    if length / MOST_SNAPPY_RATIO > bytes.len() {
        return Err(failed("snappy", &"its length is not possible"));
    }
    let before = into.len();
    into.resize(before + length, 0);
    snap::raw::Decoder::new().decompress(bytes, &mut into[before..]).map_err(|error| failed("snappy", &error))
}

fn failed(codec: &'static str, error: &dyn std::fmt::Display) -> Unreadable {
    Unreadable::Compressed { codec, reason: error.to_string() }
}
