//! The lanes of a job, and the rows that are still theirs.

use std::collections::HashMap;
use std::ops::Range;

use super::action::Action;
use super::batches::InFlight;
use super::regroup::Part;
use super::runs::Stretch;
use super::tracker::Tracker;
use super::window::Window;
use crate::ids::{BatchId, LaneId, Tick};

#[derive(Debug)]
pub(super) struct Lane {
    pub tracker: Tracker,
    pub committed: i64,
    pub state: LaneState,
}

impl Lane {
    pub fn is_draining(&self) -> bool {
        matches!(self.state, LaneState::Draining { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneState {
    Active,
    Ended,
    Draining { until: Tick },
}

/// Writes the rows of a batch whose lanes are still ours, without those that are `left_out`.
pub(super) fn write_all_but(
    id: BatchId,
    batch: &InFlight,
    lanes: &HashMap<LaneId, Lane>,
    left_out: impl Iterator<Item = u32>,
    actions: &mut Vec<Action>,
) {
    let mut start = 0;
    for row in left_out.chain([batch.rows]) {
        for_each_live(batch, lanes, &(start..row), |rows| actions.push(Action::Write(id, rows)));
        start = row + 1;
    }
}

/// Whether a row's lane is still ours.
pub(super) fn is_live(batch: &InFlight, lanes: &HashMap<LaneId, Lane>, row: u32) -> bool {
    batch.runs.lane_of(row).is_some_and(|lane| lanes.contains_key(&lane))
}

/// Calls `each` with those of `rows` whose lanes are still ours, in as few ranges as possible.
pub(super) fn for_each_live(
    batch: &InFlight,
    lanes: &HashMap<LaneId, Lane>,
    rows: &Range<u32>,
    mut each: impl FnMut(Range<u32>),
) {
    let mut open: Option<Range<u32>> = None;
    let live = batch.runs.stretches(rows).filter(|stretch| lanes.contains_key(&stretch.lane));
    for Stretch { rows, .. } in live {
        match &mut open {
            Some(range) if range.end == rows.start => range.end = rows.end,
            _ => open.replace(rows).into_iter().for_each(&mut each),
        }
    }
    open.into_iter().filter(|range| !range.is_empty()).for_each(each);
}

/// How many rows of a part are ours and not settled.
pub(super) fn open_rows_of(
    batches: &Window<InFlight>,
    lanes: &HashMap<LaneId, Lane>,
    (id, rows): &Part,
) -> u64 {
    let Some(batch) = batches.get(*id) else { return 0 };
    let open = batch.runs.stretches(rows).filter_map(|Stretch { lane, sequence, .. }| {
        Some(u64::from(lanes.get(&lane)?.tracker.unsettled_in(sequence)))
    });
    open.sum()
}
