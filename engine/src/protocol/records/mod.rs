//! The records of an answer to a fetch: the bytes of one partition in, segments of record batches out, and the records
//! of a segment one after the other.
//!
//! Records are read where they are. Only compressed records are copied: they are decompressed once.

mod aborted;
mod codec;
mod header;
mod record;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;

use super::cursor::{Cursor, Malformed};
use super::pool::Pool;
use aborted::Aborted;
pub(crate) use aborted::AbortedTransaction;
pub(crate) use header::BatchHeader;
use header::HEADER_BYTES;
pub(crate) use record::RecordFields;

/// Records that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The bytes are no records.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The checksum of a batch is wrong.
    #[error("the checksum of the batch at offset {base_offset} is wrong")]
    Checksum {
        /// The first offset of the batch.
        base_offset: i64,
    },
    /// The records are in a message format before that of Kafka 0.11.
    #[error("the records are in message format {0}, which is older than format 2 (Kafka 0.11)")]
    OldFormat(i8),
    /// The records are compressed with a codec that does not exist.
    #[error("the records are compressed with codec {0}, which is unknown")]
    Codec(i16),
    /// The compressed records are damaged.
    #[error("the records cannot be decompressed ({codec}): {reason}")]
    Compressed {
        /// The name of the codec.
        codec: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// The records are larger than a client has to take.
    #[error("the decompressed records of a batch are larger than receive.message.max.bytes ({most})")]
    Bomb {
        /// The limit in bytes.
        most: usize,
    },
}

impl Unreadable {
    /// Returns true if another fetch of the same records may succeed.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Checksum { .. } | Self::Compressed { .. })
    }
}

/// The records of one batch within a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchRows {
    /// Where the records are in the buffer of the segment.
    records: Range<usize>,
    /// The number of records; 0 if the batch has none that count.
    count: u32,
    base_offset: i64,
    /// The last offset of the batch, whether or not a record has it.
    pub last_offset: i64,
    base_timestamp_ms: i64,
    append_time_ms: Option<i64>,
}

/// Consecutive record batches of a partition in one buffer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segment {
    pub buffer: Bytes,
    batches: Vec<BatchRows>,
}

/// What is known of an answer's records before they are read: enough for the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The offset after the last complete batch, and the leader epoch of that batch.
    pub next: Option<(i64, i32)>,
    /// The complete batches.
    pub amount: Amount,
}

/// A number of records, and of the bytes of their batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub bytes: usize,
    pub records: usize,
}

impl Amount {
    /// Returns true if there are as many bytes or as many records as in `limit`.
    pub(crate) fn reaches(self, limit: Self) -> bool {
        self.bytes >= limit.bytes || self.records >= limit.records
    }

    /// Returns what is left without `other`.
    pub(crate) fn without(self, other: Self) -> Self {
        let Self { bytes, records } = other;
        Self { bytes: self.bytes.saturating_sub(bytes), records: self.records.saturating_sub(records) }
    }

    /// Returns both together.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, records: self.records + other.records }
    }
}

/// Reads the headers of the batches.
///
/// # Errors
/// If there are no batches of message format 2.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline, Unreadable> {
    let mut outline = Outline { next: None, amount: Amount::default() };
    while let Some(header) = BatchHeader::read(&bytes[outline.amount.bytes..])? {
        let next = header.last_offset.checked_add(1);
        let next =
            next.ok_or(Malformed::Impossible { what: "the last offset", value: header.last_offset })?;
        if outline.next.is_some_and(|(before, _)| header.base_offset < before) {
            return Err(Malformed::Impossible { what: "the base offset", value: header.base_offset }.into());
        }
        outline.next = Some((next, header.leader_epoch));
        let batch = Amount { bytes: header.bytes, records: header.records as usize };
        outline.amount = outline.amount.with(batch);
    }
    Ok(outline)
}

/// The number of decompressed bytes after which a segment ends.
const SEGMENT_BYTES: usize = 4 << 20;

/// The segment that batches are added to.
enum Open {
    /// Batches that stay where they are.
    Plain(Vec<BatchRows>),
    /// Decompressed batches, and their memory.
    Unpacked(Vec<u8>, Vec<BatchRows>),
}

impl Default for Open {
    fn default() -> Self {
        Self::Plain(Vec::new())
    }
}

impl Open {
    /// Returns true if another batch can be added.
    fn takes(&self, is_compressed: bool) -> bool {
        match self {
            Self::Plain(_) => !is_compressed,
            Self::Unpacked(buffer, _) => is_compressed && buffer.len() < SEGMENT_BYTES,
        }
    }

    fn close(self, bytes: &Bytes, pool: &Pool) -> Option<Segment> {
        let (buffer, batches) = match self {
            Self::Plain(batches) => (bytes.clone(), batches),
            Self::Unpacked(mut buffer, batches) => {
                let length = buffer.len();
                if length < buffer.capacity() / 4 {
                    // Few records do not pin much memory.
                    buffer.shrink_to_fit();
                }
                (pool.share(buffer, length), batches)
            }
        };
        (!batches.is_empty()).then_some(Segment { buffer, batches })
    }
}

/// What of the batches is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// True if records of aborted transactions are left out.
    pub committed_only: bool,
    /// The limit on decompressed bytes of one batch.
    pub most_batch_bytes: usize,
}

impl Segment {
    /// Checks and decompresses the complete batches in `bytes`. Batches that are not compressed stay where they are.
    /// Compressed ones become segments of about [`SEGMENT_BYTES`], in memory of the pool.
    ///
    /// # Errors
    /// If a batch is damaged, or has another message format or an unknown codec.
    pub(crate) fn read(
        bytes: &Bytes,
        aborted: Vec<AbortedTransaction>,
        reading: Reading,
        pool: &Pool,
    ) -> Result<Vec<Self>, Unreadable> {
        let mut aborted = Aborted::new(if reading.committed_only { aborted } else { Vec::new() });
        let (mut segments, mut open) = (Vec::new(), Open::Plain(Vec::new()));
        let mut at = 0;
        while let Some(header) = BatchHeader::read(&bytes[at..])? {
            let batch = &bytes[at..at + header.bytes];
            header.check(batch)?;
            let records = at + HEADER_BYTES..at + header.bytes;
            let is_compressed = header.codec() != 0;
            if !open.takes(is_compressed) {
                let next =
                    if is_compressed { Open::Unpacked(Vec::new(), Vec::new()) } else { Open::default() };
                segments.extend(std::mem::replace(&mut open, next).close(bytes, pool));
            }
            let rows = |records: Range<usize>, excluded: bool| BatchRows {
                records: if excluded { 0..0 } else { records },
                count: if excluded { 0 } else { header.records },
                base_offset: header.base_offset,
                last_offset: header.last_offset,
                base_timestamp_ms: header.base_timestamp_ms,
                append_time_ms: header.append_time_ms(),
            };
            match &mut open {
                Open::Plain(batches) => {
                    let excluded = aborted.excludes(&header, &bytes[records.clone()]);
                    batches.push(rows(records, excluded));
                }
                Open::Unpacked(buffer, batches) => {
                    if buffer.capacity() == 0 {
                        *buffer = pool.take(SEGMENT_BYTES);
                        buffer.clear();
                    }
                    let start = buffer.len();
                    codec::decompress(header.codec(), &bytes[records], reading.most_batch_bytes, buffer)?;
                    let excluded = aborted.excludes(&header, &buffer[start..]);
                    if excluded {
                        buffer.truncate(start);
                    }
                    batches.push(rows(start..buffer.len(), excluded));
                }
            }
            at += header.bytes;
        }
        segments.extend(open.close(bytes, pool));
        Ok(segments)
    }

    /// Returns the number of records, and of the bytes of the buffer.
    pub(crate) fn amount(&self) -> Amount {
        let records = self.batches.iter().map(|batch| batch.count as usize).sum();
        Amount { bytes: self.buffer.len(), records }
    }

    /// Returns a reader at the first record.
    pub(crate) fn reader(&self) -> SegmentReader {
        SegmentReader::at_batch(self, 0)
    }
}

/// The position of the next record in a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SegmentReader {
    batch: usize,
    at: usize,
    /// The number of records of the batch that were read.
    read: u32,
    /// The lowest offset that the next record of the batch can have.
    lowest: i64,
}

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Record(RecordFields),
    /// All records before this offset were read.
    Passed(i64),
    /// The segment has been read.
    End,
}

impl SegmentReader {
    fn at_batch(segment: &Segment, batch: usize) -> Self {
        let (at, lowest) =
            segment.batches.get(batch).map_or((0, 0), |batch| (batch.records.start, batch.base_offset));
        Self { batch, at, read: 0, lowest }
    }

    /// Reads what comes next, and returns the position after it, too.
    ///
    /// # Errors
    /// If the bytes are no records.
    #[inline]
    pub(crate) fn next(self, segment: &Segment) -> Result<(Next, Self), Malformed> {
        let Some(batch) = segment.batches.get(self.batch) else { return Ok((Next::End, self)) };
        if self.read < batch.count {
            let mut cursor = Cursor::within(&segment.buffer, self.at..batch.records.end);
            let record = record::read(&mut cursor, &segment.buffer, batch)?;
            if record.offset < self.lowest {
                return Err(Malformed::Impossible { what: "the offset of a record", value: record.offset });
            }
            let after = Self { at: cursor.at(), read: self.read + 1, lowest: record.offset + 1, ..self };
            return Ok((Next::Record(record), after));
        }
        if self.at != batch.records.end {
            let left = i64::try_from(batch.records.end.saturating_sub(self.at)).unwrap_or(i64::MAX);
            return Err(Malformed::Impossible {
                what: "the number of bytes after the last record",
                value: left,
            });
        }
        Ok((Next::Passed(batch.last_offset + 1), Self::at_batch(segment, self.batch + 1)))
    }
}
