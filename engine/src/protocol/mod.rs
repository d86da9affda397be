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

    let _ = sasl::read_handshake(&mut Cursor::new(bytes));
    for version in 0..=20 {
        let _ = api::read_header(&mut Cursor::new(bytes), api::Api::Fetch, version);
        let _ = api::Versions::read(&mut Cursor::new(bytes));
        let _ = metadata::read(&mut Cursor::new(bytes), version, "t");
        let _ = sasl::read(&mut Cursor::new(bytes), version);
        if let Ok(answer) = fetch::read(&mut Cursor::new(bytes), version) {
            assert!(answer.partitions.iter().all(|partition| bytes.get(partition.records.clone()).is_some()));
        }
    }
    // As the fetcher does: nothing is read whose headers are damaged.
    if records::outline(bytes).is_err() {
        return;
    }
    let reading = Reading { committed_only: true, most_batch_bytes: 1 << 20 };
    let whole = bytes::Bytes::copy_from_slice(bytes);
    let Ok(segments) = Segment::read(&whole, Vec::new(), reading, &pool::Pool::default()) else { return };
    let mut last = i64::MIN;
    for segment in segments {
        read_records(&segment, &mut last);
    }
}

#[cfg(fuzzing)]
fn read_records(segment: &records::Segment, last: &mut i64) {
    use records::Next;

    let mut reader = segment.reader();
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
