//! A record in a batch: its bytes in, the places of its fields out.

use std::ops::Range;

use super::BatchRows;
use crate::batch::Headers;
use crate::protocol::cursor::{Cursor, Malformed};

/// The fields of a record. Ranges are those of the buffer that the record was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordFields {
    pub offset: i64,
    /// The timestamp in milliseconds since the epoch; `None` if the record has none.
    pub timestamp_ms: Option<i64>,
    pub key: Option<Range<usize>>,
    pub value: Option<Range<usize>>,
    pub headers: Option<Headers>,
}

impl RecordFields {
    /// Returns the number of bytes of the key and the value.
    pub(crate) fn payload_bytes(&self) -> u64 {
        let length = |range: &Option<Range<usize>>| range.as_ref().map_or(0, ExactSizeIterator::len);
        (length(&self.key) + length(&self.value)) as u64
    }
}

/// Reads the record at the cursor. `bytes` are those of the cursor.
///
/// # Errors
/// If the bytes are no record of the batch.
#[inline]
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    bytes: &[u8],
    batch: &BatchRows,
) -> Result<RecordFields, Malformed> {
    let length = cursor.varint("the length of a record")?;
    let start = cursor.at();
    cursor.i8("the attributes of a record")?;
    let timestamp_delta = cursor.varint("the timestamp of a record")?;
    let offset_delta = cursor.varint("the offset of a record")?;
    let key = cursor.varint_bytes("the key of a record")?;
    let value = cursor.varint_bytes("the value of a record")?;
    let headers = match cursor.varint("the number of headers")? {
        0 => None,
        count => Some(headers(cursor, bytes, count)?),
    };
    let taken = cursor.at() - start;
    if i64::try_from(taken) != Ok(length) {
        return Err(Malformed::Impossible { what: "the length of a record", value: length });
    }
    let offset = batch.base_offset.checked_add(offset_delta);
    let offset = offset.filter(|offset| (batch.base_offset..=batch.last_offset).contains(offset));
    let timestamp_ms = batch.append_time_ms.or_else(|| batch.base_timestamp_ms.checked_add(timestamp_delta));
    Ok(RecordFields {
        offset: offset
            .ok_or(Malformed::Impossible { what: "the offset of a record", value: offset_delta })?,
        timestamp_ms: timestamp_ms.filter(|timestamp| *timestamp >= 0),
        key,
        value,
        headers,
    })
}

#[cold]
fn headers(cursor: &mut Cursor<'_>, bytes: &[u8], count: i64) -> Result<Headers, Malformed> {
    if count < 0 {
        return Err(Malformed::Impossible { what: "the number of headers", value: count });
    }
    let mut headers = Headers::new();
    for _ in 0..count {
        let length = cursor.varint("the name of a header")?;
        let name = usize::try_from(length).map_err(|_| Malformed::Impossible {
            what: "the length of the name of a header",
            value: length,
        })?;
        let name = cursor.skip(name, "the name of a header")?;
        let value = cursor.varint_bytes("the value of a header")?;
        let name = String::from_utf8_lossy(&bytes[name]).into_owned();
        headers.push((name, value.map(|value| bytes[value].to_vec())));
    }
    Ok(headers)
}
