//! Finds the complete rows of a batch: acknowledgements of records in, ranges of complete rows out.
//!
//! A row is complete when all of its output records are acknowledged. Rows with one output record need no state.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::process::Expected;

/// The output records of a batch that are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The rows without output.
    silent: Vec<Range<u32>>,
    /// The rows with several output records, each with the records that are not acknowledged.
    several: BTreeMap<u32, Outstanding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outstanding {
    Records(u32),
    /// A record of the row was rejected, so the row never becomes complete.
    Refused,
}

impl Pending {
    pub(super) fn of(expected: &Expected) -> Self {
        match expected {
            Expected::OneEach => Self::default(),
            Expected::Except { silent, several } => Self {
                silent: silent.clone(),
                several: several.iter().map(|(row, count)| (*row, Outstanding::Records(*count))).collect(),
            },
        }
    }

    /// Returns the rows among `rows` that have no output.
    pub(super) fn silent(&self, rows: &Range<u32>) -> Vec<Range<u32>> {
        let first = self.silent.partition_point(|silent| silent.end <= rows.start);
        let inside = self.silent[first..].iter().take_while(|silent| silent.start < rows.end);
        inside.map(|silent| silent.start.max(rows.start)..silent.end.min(rows.end)).collect()
    }

    /// Notes that one record of each of `rows` was acknowledged. Calls `complete` with the rows that are complete.
    pub(super) fn arrived(&mut self, rows: Range<u32>, mut complete: impl FnMut(Range<u32>)) {
        let mut start = rows.start;
        for (row, outstanding) in self.several.range_mut(rows.clone()) {
            let is_complete = match outstanding {
                Outstanding::Refused => false,
                Outstanding::Records(count) => {
                    *count -= 1;
                    *count == 0
                }
            };
            if !is_complete {
                if start < *row {
                    complete(start..*row);
                }
                start = row + 1;
            }
        }
        if start < rows.end {
            complete(start..rows.end);
        }
    }

    /// Notes that a record of a row was rejected. Returns true for the first rejected record of the row.
    pub(super) fn refused(&mut self, row: u32) -> bool {
        match self.several.get_mut(&row) {
            Some(outstanding) => std::mem::replace(outstanding, Outstanding::Refused) != Outstanding::Refused,
            None => true,
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges")]
mod tests {
    use super::*;

    fn arrived(pending: &mut Pending, rows: Range<u32>) -> Vec<Range<u32>> {
        let mut found = Vec::new();
        pending.arrived(rows, |rows| found.push(rows));
        found
    }

    #[test]
    fn a_row_is_complete_with_its_last_record() {
        let mut pending =
            Pending::of(&Expected::Except { silent: vec![1..3], several: vec![(4, 2), (6, 3)] });
        assert_eq!(pending.silent(&(0..8)), vec![1..3]);
        assert_eq!(pending.silent(&(2..8)), vec![2..3]);
        assert_eq!(arrived(&mut pending, 3..8), [3..4, 5..6, 7..8]);
        assert_eq!(arrived(&mut pending, 4..5), vec![4..5]);
        assert!(pending.refused(6) && !pending.refused(6), "a row fails once");
        assert_eq!(arrived(&mut pending, 6..7), []);
        assert_eq!(arrived(&mut Pending::default(), 0..500), vec![0..500]);
    }
}
