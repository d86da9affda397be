//! Rows with arbitrary keys, values and headers, many of them those of dead letters. Checks that a batch returns its rows
//! as they are, and that the last headers of a name, and no others, decide which source record a dead letter names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use velo_engine::batch::{BatchBuilder, Headers, Record};
use velo_engine::ids::{LaneId, Names};
use velo_engine::dead_letter::DeadLetter;

const CONNECT: &str = "__connect.errors.";
const TOPIC: &str = "__connect.errors.topic";
const PARTITION: &str = "__connect.errors.partition";
const OFFSET: &str = "__connect.errors.offset";
const STAGE: &str = "__connect.errors.stage";
const MESSAGE: &str = "__connect.errors.exception.message";
const OURS: [&str; 3] = ["velo.timestamp_ms", "velo.group", "velo.attempts"];
const NAMES: [&str; 8] = [TOPIC, PARTITION, OFFSET, STAGE, MESSAGE, OURS[0], OURS[1], OURS[2]];

/// The index of a known name or another name, and a value, which may be a number.
type Header = (u8, String, Option<Vec<u8>>, Option<i64>);
/// Headers, key and value.
type Row = (Vec<Header>, Option<Vec<u8>>, Option<Vec<u8>>);

fuzz_target!(|rows: Vec<Row>| {
    let all: Vec<Headers> = rows.iter().map(|(headers, ..)| headers.iter().map(header).collect()).collect();
    let mut builder = BatchBuilder::default();
    for (offset, ((_, key, value), headers)) in (0_i64..).zip(rows.iter().zip(&all)) {
        let (key, value, headers) = (key.as_deref(), value.as_deref(), Some(headers.clone()));
        builder.push(LaneId(0), Record { offset, key, value, headers, ..Record::default() });
    }
    let batch = builder.seal(Names::default());
    for (row, ((_, key, value), headers)) in (0_u32..).zip(rows.iter().zip(&all)) {
        assert_eq!((batch.offset(row), batch.headers(row)), (i64::from(row), headers.as_slice()));
        assert_eq!((batch.key(row), batch.value(row)), (key.as_deref(), value.as_deref()));
        let letter = DeadLetter::read(&batch, row);
        let place =
            |letter: &DeadLetter| (letter.origin.topic.to_string(), letter.origin.partition, letter.offset);
        assert_eq!(letter.as_ref().map(place), source(headers), "{headers:?}");
        if let Some(letter) = letter {
            let is_own = |name: &str| !name.starts_with(CONNECT) && !OURS.contains(&name);
            let own: Headers = headers.iter().filter(|(name, _)| is_own(name)).cloned().collect();
            assert_eq!(letter.headers, own);
            assert!(letter.timestamp_ms.is_none_or(|time| time >= 0), "{letter:?}");
        }
    }
});

fn header((index, other, value, number): &Header) -> (String, Option<Vec<u8>>) {
    let name = match NAMES.get(usize::from(index % 16)) {
        Some(known) => (*known).to_owned(),
        None => other.clone(),
    };
    let value = match number {
        Some(number) => Some(number.to_string().into_bytes()),
        None => value.clone(),
    };
    (name, value)
}

/// Returns topic, partition and offset of the source record, if the headers name one.
fn source(headers: &Headers) -> Option<(String, i32, i64)> {
    let (topic, partition, offset) =
        (last(headers, TOPIC)?, last(headers, PARTITION)?, last(headers, OFFSET)?);
    Some((topic, partition.parse().ok()?, offset.parse().ok()?))
}

fn last(headers: &Headers, name: &str) -> Option<String> {
    let (_, value) = headers.iter().rev().find(|(known, _)| known == name)?;
    String::from_utf8(value.clone()?).ok()
}
