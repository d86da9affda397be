//! The header of a record batch (message format 2): the first bytes of a batch in, its fields out.

use super::Unreadable;
use crate::protocol::cursor::{Cursor, Malformed};

/// The number of bytes before the length of a batch has its say: base offset and length.
const LENGTH_PREFIX: usize = 12;
/// The number of bytes from the start of a batch to the end of its checksum.
const CRC_END: usize = 21;
/// The number of bytes of a header.
pub(super) const HEADER_BYTES: usize = 61;
/// The message format that is read.
const MAGIC: i8 = 2;

const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The header of a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// The offset to which the records' offsets are relative.
    pub base_offset: i64,
    /// The number of bytes of the whole batch.
    pub bytes: usize,
    /// The epoch of the leader that wrote the batch.
    pub leader_epoch: i32,
    crc: u32,
    attributes: i16,
    /// The offset of the last record that the batch was written with. Compaction may have removed the record.
    pub last_offset: i64,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    /// The number of records.
    pub records: u32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. Returns `None` if the batch is not complete: the brokers cut the last
    /// batch of an answer.
    ///
    /// # Errors
    /// If the batch has another message format, or its length or count is not possible.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let mut cursor = Cursor::new(bytes);
        if cursor.left() <= CRC_END {
            return Ok(None);
        }
        let base_offset = cursor.i64("the base offset")?;
        let length = cursor.i32("the length of a batch")?;
        let leader_epoch = cursor.i32("the leader epoch")?;
        let magic = cursor.i8("the message format")?;
        if magic != MAGIC {
            return Err(Unreadable::OldFormat(magic));
        }
        let impossible = |what, value| Malformed::Impossible { what, value };
        let whole = usize::try_from(length).map(|length| length + LENGTH_PREFIX);
        let whole = whole.ok().filter(|whole| *whole >= HEADER_BYTES);
        let whole = whole.ok_or(impossible("the length of a batch", length.into()))?;
        if bytes.len() < whole {
            return Ok(None);
        }
        let crc = cursor.i32("the checksum")?.cast_unsigned();
        let attributes = cursor.i16("the attributes")?;
        let last_delta = cursor.i32("the last offset")?;
        let base_timestamp_ms = cursor.i64("the base timestamp")?;
        let max_timestamp_ms = cursor.i64("the maximum timestamp")?;
        let producer_id = cursor.i64("the producer id")?;
        cursor.i16("the producer epoch")?;
        cursor.i32("the base sequence")?;
        let count = cursor.i32("the number of records")?;
        let last_offset = base_offset.checked_add(last_delta.into()).filter(|_| last_delta >= 0);
        Ok(Some(Self {
            base_offset,
            bytes: whole,
            leader_epoch,
            crc,
            attributes,
            last_offset: last_offset.ok_or(impossible("the last offset", last_delta.into()))?,
            base_timestamp_ms,
            max_timestamp_ms,
            producer_id,
            records: u32::try_from(count).map_err(|_| impossible("the number of records", count.into()))?,
        }))
    }

    /// Compares the checksum with the bytes of the batch.
    ///
    /// # Errors
    /// If they differ.
    pub(super) fn check(&self, batch: &[u8]) -> Result<(), Unreadable> {
        if cfg!(fuzzing) || crc32c::crc32c(&batch[CRC_END..]) == self.crc {
            Ok(())
        } else {
            Err(Unreadable::Checksum { base_offset: self.base_offset })
        }
    }

    /// Returns the number of the compression codec; 0 if the records are not compressed.
    pub(super) fn codec(&self) -> i16 {
        self.attributes & CODEC_BITS
    }

    /// Returns the time at which the broker has appended the batch, if the records have that timestamp.
    pub(super) fn append_time_ms(&self) -> Option<i64> {
        (self.attributes & LOG_APPEND_TIME != 0).then_some(self.max_timestamp_ms)
    }

    /// Returns true if the batch is part of a transaction.
    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Returns true if the batch has a marker of a transaction and no record of a user.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}
