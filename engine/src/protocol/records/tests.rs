use super::*;

/// A batch as a producer writes it.
#[derive(Clone)]
struct Written {
    base_offset: i64,
    /// The offsets of the records relative to the first.
    deltas: Vec<i64>,
    last_delta: i32,
    attributes: i16,
    producer_id: i64,
    key: Option<Vec<u8>>,
    headers: Vec<(&'static str, Option<&'static [u8]>)>,
}

impl Written {
    fn new(base_offset: i64, records: i64) -> Self {
        Self {
            base_offset,
            deltas: (0..records).collect(),
            last_delta: i32::try_from(records).unwrap() - 1,
            attributes: 0,
            producer_id: -1,
            key: Some(b"key".to_vec()),
            headers: Vec::new(),
        }
    }

    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for delta in &self.deltas {
            let mut record = vec![0];
            varint(&mut record, delta * 10);
            varint(&mut record, *delta);
            match &self.key {
                Some(key) => sized(&mut record, key),
                None => varint(&mut record, -1),
            }
            sized(&mut record, format!("value {}", self.base_offset + delta).as_bytes());
            varint(&mut record, i64::try_from(self.headers.len()).unwrap());
            for (name, value) in &self.headers {
                sized(&mut record, name.as_bytes());
                match value {
                    Some(value) => sized(&mut record, value),
                    None => varint(&mut record, -1),
                }
            }
            sized(&mut records, &record);
        }
        records
    }

    /// Returns the bytes of the batch with these records, compressed or not.
    fn with(&self, records: &[u8]) -> Vec<u8> {
        let mut checked = self.attributes.to_be_bytes().to_vec();
        checked.extend(self.last_delta.to_be_bytes());
        checked.extend(1_000_i64.to_be_bytes());
        checked.extend(5_000_i64.to_be_bytes());
        checked.extend(self.producer_id.to_be_bytes());
        checked.extend(0_i16.to_be_bytes());
        checked.extend(0_i32.to_be_bytes());
        checked.extend(i32::try_from(self.deltas.len()).unwrap().to_be_bytes());
        checked.extend(records);
        let mut batch = self.base_offset.to_be_bytes().to_vec();
        batch.extend(i32::try_from(checked.len() + 9).unwrap().to_be_bytes());
        batch.extend(7_i32.to_be_bytes());
        batch.push(2);
        batch.extend(crc32c::crc32c(&checked).to_be_bytes());
        batch.extend(checked);
        batch
    }

    fn bytes(&self) -> Vec<u8> {
        self.with(&self.records())
    }

    /// Returns the batch with its records compressed.
    fn compressed(&self, codec: i16) -> Vec<u8> {
        let plain = self.records();
        let records = match codec {
            1 => {
                let mut encoder = flate2::read::GzEncoder::new(&*plain, flate2::Compression::fast());
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut encoder, &mut bytes).unwrap();
                bytes
            }
            2 => snap::raw::Encoder::new().compress_vec(&plain).unwrap(),
            3 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                std::io::Write::write_all(&mut encoder, &plain).unwrap();
                encoder.finish().unwrap()
            }
            4 => zstd::encode_all(&*plain, 1).unwrap(),
            _ => plain,
        };
        Self { attributes: self.attributes | codec, ..self.clone() }.with(&records)
    }
}

fn varint(into: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let [low, ..] = raw.to_le_bytes();
        raw >>= 7;
        if raw == 0 {
            return into.push(low & 0x7f);
        }
        into.push(low | 0x80);
    }
}

fn sized(into: &mut Vec<u8>, bytes: &[u8]) {
    varint(into, i64::try_from(bytes.len()).unwrap());
    into.extend(bytes);
}

const READING: Reading = Reading { committed_only: true, most_batch_bytes: 1 << 20 };

fn segments(bytes: Vec<u8>, aborted: Vec<AbortedTransaction>) -> Result<Vec<Segment>, Unreadable> {
    Segment::read(&bytes.into(), aborted, READING, &Pool::default())
}

/// Returns the only segment of a batch.
fn segment(written: &Written) -> Segment {
    segments(written.bytes(), Vec::new()).unwrap().remove(0)
}

/// The offset and the value of each record, and the offsets that were passed.
type All = (Vec<(i64, String)>, Vec<i64>);

/// Reads all records.
fn read_all(bytes: Vec<u8>, aborted: Vec<AbortedTransaction>) -> Result<All, Unreadable> {
    let (mut records, mut passed) = (Vec::new(), Vec::new());
    for segment in segments(bytes, aborted)? {
        let mut reader = segment.reader();
        loop {
            let (next, after) = reader.next(&segment)?;
            reader = after;
            match next {
                Next::Record(record) => {
                    let value = &segment.buffer[record.value.clone().unwrap()];
                    records.push((record.offset, String::from_utf8(value.to_vec()).unwrap()));
                }
                Next::Passed(offset) => passed.push(offset),
                Next::End => break,
            }
        }
    }
    Ok((records, passed))
}

fn offsets(bytes: Vec<u8>, aborted: Vec<AbortedTransaction>) -> Vec<i64> {
    read_all(bytes, aborted).unwrap().0.into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn every_codec_gives_the_same_records() {
    let mut batches = Vec::new();
    for (first, codec) in (0..).step_by(3).zip([0, 1, 2, 3, 4, 0]) {
        batches.extend(Written::new(first, 3).compressed(codec));
    }
    let (records, passed) = read_all(batches, Vec::new()).unwrap();
    assert_eq!(records, (0..18).map(|offset| (offset, format!("value {offset}"))).collect::<Vec<_>>());
    assert_eq!(passed, [3, 6, 9, 12, 15, 18]);
}

#[test]
fn snappy_is_read_in_the_framing_of_the_java_client() {
    let written = Written::new(5, 4);
    let plain = written.records();
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for part in plain.chunks(20) {
        let block = snap::raw::Encoder::new().compress_vec(part).unwrap();
        framed.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
        framed.extend(block);
    }
    let bytes = Written { attributes: 2, ..written }.with(&framed);
    assert_eq!(offsets(bytes, Vec::new()), [5, 6, 7, 8]);
}

#[test]
fn fields_keep_their_values() {
    let headers = vec![("a", Some(b"1".as_slice())), ("b", None), ("a", Some(b""))];
    let written = Written { key: None, headers, deltas: vec![2], last_delta: 9, ..Written::new(40, 1) };
    let segment = segment(&written);
    let (Next::Record(record), after) = segment.reader().next(&segment).unwrap() else { panic!() };
    assert_eq!((record.offset, record.timestamp_ms, record.key.clone()), (42, Some(1_020), None));
    assert_eq!(record.payload_bytes(), 8);
    let name = |name: &str| name.to_owned();
    let expected = [(name("a"), Some(b"1".to_vec())), (name("b"), None), (name("a"), Some(Vec::new()))];
    assert_eq!(record.headers.as_deref(), Some(expected.as_slice()));
    assert_eq!(after.next(&segment).unwrap().0, Next::Passed(50), "compaction has removed the last records");

    let appended = Written { attributes: 1 << 3, ..Written::new(0, 1) };
    let segment = self::segment(&appended);
    let (Next::Record(record), _) = segment.reader().next(&segment).unwrap() else { panic!() };
    assert_eq!(record.timestamp_ms, Some(5_000));
}

/// A marker that ends the transaction of a producer: 0 aborts it, 1 commits it.
fn marker(base_offset: i64, producer_id: i64, kind: u8) -> Vec<u8> {
    Written {
        attributes: 1 << 4 | 1 << 5,
        producer_id,
        key: Some(vec![0, 0, 0, kind]),
        ..Written::new(base_offset, 1)
    }
    .bytes()
}

#[test]
fn records_of_aborted_transactions_are_left_out() {
    let of = |base_offset, producer_id| {
        Written { attributes: 1 << 4, producer_id, ..Written::new(base_offset, 2) }.bytes()
    };
    let parts = [
        of(0, 1),
        of(2, 2),
        Written::new(4, 1).bytes(),
        marker(5, 1, 0),
        of(6, 1),
        marker(8, 2, 1),
        marker(9, 1, 1),
        of(10, 2),
        marker(12, 2, 0),
    ];
    let aborted = |producer_id, first_offset| AbortedTransaction { producer_id, first_offset };
    let bytes = parts.concat();
    assert_eq!(offsets(bytes.clone(), vec![aborted(2, 10), aborted(1, 0)]), [2, 3, 4, 6, 7]);
    let all = Reading { committed_only: false, ..READING };
    let segments = Segment::read(&bytes.into(), vec![aborted(1, 0)], all, &Pool::default()).unwrap();
    assert_eq!((segments.len(), segments[0].amount().records), (1, 9), "markers are never records");
}

#[test]
fn a_batch_that_is_cut_is_left_for_the_next_fetch() {
    let bytes = [Written::new(0, 2).bytes(), Written::new(2, 2).bytes()].concat();
    let first = Written::new(0, 2).bytes().len();
    for cut in first..bytes.len() {
        let part = bytes[..cut].to_vec();
        assert_eq!(
            outline(&part),
            Ok(Outline { next: Some((2, 7)), amount: Amount { bytes: first, records: 2 } }),
            "cut at {cut}"
        );
        assert_eq!(offsets(part, Vec::new()), [0, 1]);
    }
    assert_eq!(outline(&bytes).unwrap().next, Some((4, 7)));
    assert_eq!(outline(&bytes[..first - 1]), Ok(Outline { next: None, amount: Amount::default() }));
}

#[test]
fn damage_is_an_error_wherever_it_is() {
    let good = Written::new(3, 5).compressed(0);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        // The base offset and the leader epoch are written by the broker and not part of the checksum.
        if !(0..8).contains(&at) && !(12..16).contains(&at) {
            let read = read_all(bad, Vec::new());
            assert!(read.is_err() || read == Ok((Vec::new(), Vec::new())), "byte {at}: {read:?}");
        }
    }
    let old = [vec![0; 16], vec![1], vec![0; 60]].concat();
    assert_eq!(outline(&old), Err(Unreadable::OldFormat(1)));
    let unknown = Written { attributes: 6, ..Written::new(0, 1) }.bytes();
    assert_eq!(read_all(unknown, Vec::new()), Err(Unreadable::Codec(6)));
}

#[test]
fn records_that_contradict_their_batch_are_errors() {
    let written = Written::new(3, 2);
    let mut more = written.records();
    more.extend([2, 0]);
    let missing = [written.with(&[]), written.with(&more)];
    let unordered = Written { deltas: vec![1, 1], ..written.clone() }.bytes();
    let outside = Written { deltas: vec![0, 7], ..written.clone() }.bytes();
    for bytes in missing.into_iter().chain([unordered, outside]) {
        assert!(matches!(read_all(bytes, Vec::new()), Err(Unreadable::Malformed(_))));
    }
}

#[test]
fn what_is_decompressed_has_a_limit() {
    let zeros = vec![0; 4 << 20];
    let written = Written::new(0, 1);
    let bombs = [
        (2, snap::raw::Encoder::new().compress_vec(&zeros).unwrap()),
        (4, zstd::encode_all(&*zeros, 1).unwrap()),
    ];
    for (codec, bomb) in bombs {
        let bytes = Written { attributes: codec, ..written.clone() }.with(&bomb);
        assert_eq!(read_all(bytes, Vec::new()), Err(Unreadable::Bomb { most: 1 << 20 }));
    }
    let lie = [0x80, 0x80, 0x10, 0, 0];
    let bytes = Written { attributes: 2, ..written }.with(&lie);
    assert!(matches!(read_all(bytes, Vec::new()), Err(Unreadable::Compressed { .. })));
}

#[test]
fn much_that_was_compressed_becomes_several_segments() {
    let many = |first: i64| {
        let key = Some(vec![7; 100_000]);
        Written { key, ..Written::new(first, 9) }.compressed(4)
    };
    let bytes: Vec<_> = (0..10).flat_map(|number| many(number * 9)).collect();
    let read = segments(bytes, Vec::new()).unwrap();
    let records: Vec<_> = read.iter().map(|segment| segment.amount().records).collect();
    assert_eq!(records, [45, 45], "none has much more than 4 MiB");
    assert!(read.iter().all(|segment| segment.amount().bytes < 6 << 20));
}

#[test]
fn random_bytes_are_an_error_or_nothing() {
    let mut random = fastrand::Rng::with_seed(1);
    let good = [Written::new(0, 3).compressed(4), Written::new(3, 3).compressed(2)].concat();
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        // Random damage never passes the checksum, so the parts behind it are given the damage without it.
        let from = random.usize(..bytes.len());
        let mut into = Vec::new();
        let _ = codec::decompress(random.i16(0..6), &bytes[from..], 1 << 16, &mut into);
        let _ = outline(&bytes);
        let _ = read_all(bytes, Vec::new());
    }
}
