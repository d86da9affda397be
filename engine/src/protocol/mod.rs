//! Kafka's protocol, as far as records are read with it: requests to bytes, and bytes of brokers to answers.
//!
//! All of it is pure. Nothing here trusts a broker: a length is checked before anything of that length is read or
//! reserved, and what is decompressed has a limit.

pub(crate) mod api;
pub(crate) mod cursor;
mod encoder;
pub(crate) mod fetch;
pub(crate) mod metadata;
pub(crate) mod pool;
pub(crate) mod records;
pub(crate) mod sasl;

/// Reads bytes as everything that a broker may send, for fuzzing.
#[cfg(fuzzing)]
pub fn read_everything(bytes: &[u8]) {
    use cursor::Cursor;
    use records::{Reading, Segment};

    /// The limit on decompressed bytes.
    const MOST_BYTES: usize = 1 << 20;
    for version in 0..=20 {
        let _ = api::Versions::read(&mut Cursor::new(bytes));
        let _ = metadata::read(&mut Cursor::new(bytes), version, "t");
        let _ = sasl::read(&mut Cursor::new(bytes), version);
        if let Ok(answer) = fetch::read(&mut Cursor::new(bytes), version) {
            assert!(answer.partitions.iter().all(|partition| bytes.get(partition.records.clone()).is_some()));
        }
    }
    let outline = records::outline(bytes);
    let reading = Reading { committed_only: true, most_bytes: MOST_BYTES };
    let Ok(segment) = Segment::read(bytes::Bytes::copy_from_slice(bytes), Vec::new(), reading) else {
        return;
    };
    assert!(segment.buffer.len() <= bytes.len() + MOST_BYTES);
    let (mut reader, mut last) = (segment.reader(), i64::MIN);
    while let Ok((next, after)) = reader.next(segment) {
        reader = after;
        match next {
            Next::Record(record) => {
                assert!(record.offset > *last, "offsets ascend");
                *last = record.offset;
                let ranges = [record.key, record.value];
                assert!(ranges.into_iter().flatten().all(|range| segment.buffer.get(range).is_some()));
            }
            Next::Passed(_) => {}
            Next::End => return,
        }
    }
}
