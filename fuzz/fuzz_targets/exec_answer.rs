//! A digit that selects the size of the batch and the version of the protocol, then the answer of a program. Checks that
//! output and failures are exactly those that the answer lists, and only for rows of the batch; that version 2 reads
//! every answer of version 1 alike; and that an answer reads the same after it was written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use velo_engine::process::exec::protocol::{Answer, Version};
use velo_engine::process::exec::read_answer;
use velo_engine::process::{Failure, Output};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, line)) = bytes.split_first() else { return };
    let rows = 1 + u32::from(first % 8);
    // The digits 8 and 9 select version 1.
    let version = if first & 8 == 0 { Version::V2 } else { Version::V1 };
    let accepted = read(line, rows, version);
    let Some((result, counts)) = &accepted else { return };
    let answer: Answer = serde_json::from_slice(line).expect("an accepted line is an answer");
    assert_eq!(*counts, listed(&answer, rows));
    match result {
        Ok(()) => assert!(answer.error.is_none() && answer.errors.iter().flatten().count() == 0),
        Err(Failure::Rows(errors)) => {
            assert!(errors.windows(2).all(|pair| pair[0].row < pair[1].row), "{errors:?}");
            assert!(errors.last().is_some_and(|last| last.row < rows), "{errors:?}");
            let is_listed = |row: u32| answer.errors.iter().flatten().any(|error| error.record == row);
            assert!(errors.iter().all(|error| is_listed(error.row)), "{errors:?}");
        }
        Err(Failure::Unnamed(reason)) => assert_eq!(Some(reason), answer.error.as_ref()),
        Err(other) => panic!("an answer cannot cause {other:?}"),
    }
    let written = serde_json::to_vec(&answer).expect("an answer can be written");
    assert_eq!(read(&written, rows, version), accepted);
    assert_eq!(read(line, rows, Version::V2), accepted);
});

/// Returns the result of an accepted answer, and the number of records that it puts out for each row.
fn read(line: &[u8], rows: u32, version: Version) -> Option<(Result<(), Failure>, Vec<u32>)> {
    let mut out = Output::default();
    let result = read_answer(line, rows, version, &mut out).ok()?;
    Some((result, out.counts(rows)))
}

/// Returns the number of records that an answer lists for each row.
fn listed(answer: &Answer, rows: u32) -> Vec<u32> {
    let mut counts = vec![u32::from(answer.error.is_none() && answer.records.is_none()); rows as usize];
    for line in answer.records.iter().flatten() {
        counts[line.record as usize] += 1;
    }
    counts
}
