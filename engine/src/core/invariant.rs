//! The invariants of the core between two steps. Property tests and debug builds check them after each step.

use std::ops::Range;

use super::action::Action;
use super::batches::BatchState;
use super::lanes::Lane;
use super::machine::Core;
use super::runs::Runs;
use crate::ids::LaneId;

/// The maximum number of unsettled records for which rows are counted one by one. With more records, the check would
/// cost more than the step.
const COUNTED_ROWS: u64 = 256;

impl Core {
    /// Returns the first invariant that is broken, if one is.
    pub(super) fn invariant(&self) -> Option<String> {
        let broken = |holds: bool, what: &str| (!holds).then(|| format!("{what}: {self:#?}"));
        let unsettled: u64 = self.lanes.iter().map(|(_, lane)| lane.tracker.unsettled()).sum();
        broken(unsettled == self.unsettled_records, "the unsettled records differ from those of the lanes")
            .or_else(|| {
                let bytes: u64 = self.batches.iter().map(|(_, batch)| batch.bytes).sum();
                broken(bytes == self.unsettled_bytes, "the unsettled bytes differ from those of the batches")
            })
            .or_else(|| {
                broken(self.batcher.is_empty() == (self.open_runs.len() == 0), "the open batches differ")
            })
            .or_else(|| {
                let ordered = |lane: &Lane| lane.tracker.watermark() <= lane.tracker.next();
                let committed = |lane: &Lane| lane.committed <= lane.tracker.watermark();
                let holds = self.lanes.iter().all(|(_, lane)| ordered(lane) && committed(lane));
                broken(holds, "a lane is committed beyond its watermark")
            })
            .or_else(|| {
                let in_flight = self.commit_in_flight.iter().flatten();
                let settled = |(id, offset): &(LaneId, i64)| {
                    self.lanes.get(*id).is_none_or(|lane| *offset <= lane.tracker.watermark())
                };
                broken(in_flight.clone().all(settled), "the commit in flight is beyond a watermark")
            })
            .or_else(|| {
                let holds = self.batches.iter().all(|(id, batch)| {
                    let waits = self.unprocessed.contains(&id);
                    waits == (batch.state != BatchState::Processed) || self.transaction.is_some()
                });
                broken(holds, "the list of unprocessed batches is wrong")
            })
            .or_else(|| self.lanes.invariant().map(str::to_owned))
            .or_else(|| self.rows_invariant())
            .or_else(|| broken(self.ledger().is_balanced() || self.ledger.failed > 0, "the ledger is wrong"))
    }

    /// Checks that every unsettled record of a lane is in exactly one batch, including the open batch.
    fn rows_invariant(&self) -> Option<String> {
        if self.unsettled_records > COUNTED_ROWS {
            return None;
        }
        let unsettled = |runs: &Runs| -> u64 {
            let spans = runs.spans(&(0..runs.len()));
            let of_lane = spans.filter_map(|span| {
                let lane = self.lanes.get(span.lane)?;
                Some(u64::from(lane.tracker.unsettled_in(span.sequence)))
            });
            of_lane.sum()
        };
        let mut sum = unsettled(&self.open_runs);
        for (id, batch) in self.batches.iter() {
            let rows = unsettled(&batch.runs);
            sum += rows;
            if rows != u64::from(batch.open_rows) {
                return Some(format!("batch {id:?} has {rows} unsettled rows, not {}", batch.open_rows));
            }
        }
        (sum != self.unsettled_records)
            .then(|| format!("{sum} rows are unsettled in batches, {} in lanes", self.unsettled_records))
    }

    /// Returns the first action of a step that concerns a lane which is neither assigned nor released in this step.
    pub(super) fn actions_invariant(&self, actions: &[Action]) -> Option<String> {
        let is_released = |lane: LaneId| {
            let released = |action: &Action| matches!(action, Action::Release(lanes) if lanes.iter().any(|(released, _)| *released == lane));
            actions.iter().any(released)
        };
        let is_ours = |lane: LaneId| self.lanes.contains(lane) || is_released(lane);
        let rows_are_ours = |id, rows: &Range<u32>| {
            let Some(batch) = self.batches.get(id) else { return true };
            batch.runs.spans(rows).all(|span| is_ours(span.lane))
        };
        let holds = |action: &&Action| match action {
            Action::Write(id, rows) => rows_are_ours(*id, rows),
            Action::DeadLetter(id, errors, _) => {
                errors.iter().all(|error| rows_are_ours(*id, &(error.row..error.row + 1)))
            }
            Action::Commit(offsets) | Action::CommitTransaction(offsets) => {
                offsets.iter().all(|(lane, _)| is_ours(*lane))
            }
            _ => true,
        };
        let broken = actions.iter().find(|action| !holds(action))?;
        Some(format!("{broken:?} is about a lane that is not assigned"))
    }
}
