//! Finds the bad records of a batch by bisection if the processor cannot name them.

use super::{Attempt, Failure, Output, Processor, Unprocessed};
use crate::batch::Batch;
use crate::core::failure::{RowError, Stage};

/// Processes the rows of a batch that are not in `bad`. If the processor cannot name the record that failed, the rows
/// are halved repeatedly: k bad rows among n cost O(k·log(n/k) + k) calls.
///
/// Returns all bad rows in ascending order and the output of the other rows.
///
/// # Errors
/// If the system failed, so that no row counts as processed.
pub(crate) fn bisect(
    processor: &mut dyn Processor,
    batch: &Batch,
    mut bad: Vec<RowError>,
    attempt: Attempt,
) -> Result<(Vec<RowError>, Output), Unprocessed> {
    let mut output = Output::default();
    // The common case: all rows succeed, or the processor names the bad ones.
    let mut parts = Vec::new();
    if bad.is_empty() {
        match processor.process(batch, &mut output, attempt) {
            Ok(()) => {}
            Err(Failure::Rows(errors)) => bad = errors,
            Err(Failure::System(message)) => return Err(Unprocessed { message, is_fatal: false }),
            Err(Failure::Fatal(message)) => return Err(Unprocessed { message, is_fatal: true }),
            Err(Failure::Unnamed(message)) => {
                output = Output::default();
                halve(&mut parts, &(0..batch.len()).collect::<Vec<_>>(), message, &mut bad);
            }
        }
    } else {
        let is_good = |row: &u32| bad.binary_search_by_key(row, |error| error.row).is_err();
        parts.push((0..batch.len()).filter(is_good).collect());
    }
    // A stack of parts with the first part on top, so that outputs are in row order.
    while let Some(rows) = parts.pop().filter(|rows| !rows.is_empty()) {
        let mut part_output = Output::default();
        match processor.process(&batch.pick(&rows), &mut part_output, attempt) {
            Ok(()) => output.append(part_output, &rows),
            Err(Failure::Rows(errors)) => {
                let of_batch = |error: RowError| RowError { row: rows[error.row as usize], ..error };
                bad.extend(errors.into_iter().map(of_batch));
                output.append(part_output, &rows);
            }
            Err(Failure::System(message)) => return Err(Unprocessed { message, is_fatal: false }),
            Err(Failure::Fatal(message)) => return Err(Unprocessed { message, is_fatal: true }),
            Err(Failure::Unnamed(message)) => halve(&mut parts, &rows, message, &mut bad),
        }
    }
    bad.sort_by_key(|error| (error.row, error.stage));
    bad.dedup_by_key(|error| error.row);
    output.sort();
    Ok((bad, output))
}

/// Pushes both halves of a part with a bad row onto the stack. A part of a single row is added to the bad rows.
fn halve(parts: &mut Vec<Vec<u32>>, rows: &[u32], message: String, bad: &mut Vec<RowError>) {
    if let [row] = *rows {
        bad.push(RowError { row, stage: Stage::Process, message, retriable: true });
        return;
    }
    let (first, second) = rows.split_at(rows.len() / 2);
    parts.extend([second.to_vec(), first.to_vec()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Record};
    use crate::ids::{LaneId, Names};
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Fails without naming a row if the batch has a record with the value `bad`. Counts its calls.
    struct Picky {
        calls: u32,
    }

    impl Processor for Picky {
        fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
            self.calls += 1;
            if (0..batch.len()).any(|row| batch.value(row) == Some(b"bad")) {
                return Err(Failure::Unnamed("one of them".to_owned()));
            }
            out.forward_all();
            Ok(())
        }
    }

    fn batch(bad: &[bool]) -> Arc<Batch> {
        let mut builder = BatchBuilder::default();
        for (offset, bad) in (0..).zip(bad) {
            let value: &[u8] = if *bad { b"bad" } else { b"fine" };
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal(Names::default())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn halving_finds_exactly_the_bad_records_in_few_calls(bad in prop::collection::vec(prop::bool::weighted(0.05), 1..300)) {
            let batch = batch(&bad);
            let mut picky = Picky { calls: 0 };
            let (errors, output) = bisect(&mut picky, &batch, Vec::new(), Attempt { number: 0 }).unwrap();
            let rows = |is_bad: bool| (0_u32..).zip(&bad).filter(move |(_, bad)| **bad == is_bad).map(|(row, _)| row).collect::<Vec<_>>();
            prop_assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), rows(true));
            let put_out: Vec<_> = output.of_rows(0..batch.len()).map(|(row, _)| row).collect();
            prop_assert_eq!(put_out, rows(false));
            // Each level of halves has at most twice as many parts as the one above, and at most two parts for
            // each bad record: about k (log(n / k) + 2).
            let (n, k) = (batch.len(), u32::try_from(errors.len()).unwrap());
            let bound: u32 = (0..=n.next_power_of_two().ilog2()).map(|level| (1 << level).min(2 * k)).sum();
            prop_assert!(picky.calls <= bound.max(1), "{} calls for {} of {}", picky.calls, k, n);
        }
    }

    #[test]
    fn rows_that_are_bad_already_are_not_processed() {
        let batch = batch(&[true, false, true]);
        let known = [0, 2].map(|row| RowError {
            row,
            stage: Stage::Decode,
            message: String::new(),
            retriable: false,
        });
        let mut picky = Picky { calls: 0 };
        let (errors, output) = bisect(&mut picky, &batch, known.to_vec(), Attempt { number: 0 }).unwrap();
        assert_eq!((errors.len(), output.counts(3), picky.calls), (2, vec![0, 1, 0], 1));
    }
}
