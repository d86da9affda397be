//! Which records belong to aborted transactions: the aborted transactions of an answer and its batches, in order, in;
//! whether a batch counts, out.

use std::collections::BTreeSet;

use super::header::BatchHeader;
use crate::protocol::cursor::Cursor;

/// A transaction that was aborted, as a broker lists it beside the records that it may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub producer_id: i64,
    /// The offset of its first record.
    pub first_offset: i64,
}

/// The producers whose transaction at the current offset is an aborted one.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    /// The transactions that have not begun yet, the first one last.
    later: Vec<AbortedTransaction>,
    open: BTreeSet<i64>,
}

impl Aborted {
    pub(super) fn new(mut transactions: Vec<AbortedTransaction>) -> Self {
        transactions.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { later: transactions, open: BTreeSet::new() }
    }

    /// Returns true if the records of the next batch do not count: markers, and records of aborted transactions.
    /// `records` are the decompressed records of a batch of markers.
    pub(super) fn excludes(&mut self, batch: &BatchHeader, records: &[u8]) -> bool {
        let begins = |transaction: &mut AbortedTransaction| transaction.first_offset <= batch.last_offset;
        while let Some(AbortedTransaction { producer_id, .. }) = self.later.pop_if(begins) {
            self.open.insert(producer_id);
        }
        if batch.is_control() {
            if is_abort_marker(records) {
                self.open.remove(&batch.producer_id);
            }
            return true;
        }
        batch.is_transactional() && self.open.contains(&batch.producer_id)
    }
}

/// Returns true if the first of these records marks the end of an aborted transaction. The key of a marker is its
/// version and its type, which is 0 for an abort.
fn is_abort_marker(records: &[u8]) -> bool {
    let key = || {
        let mut cursor = Cursor::new(records);
        cursor.varint("the length of a marker")?;
        cursor.i8("the attributes of a marker")?;
        cursor.varint("the timestamp of a marker")?;
        cursor.varint("the offset of a marker")?;
        cursor.varint("the length of the key of a marker")?;
        cursor.i16("the version of a marker")?;
        cursor.i16("the type of a marker")
    };
    key() == Ok(0)
}
