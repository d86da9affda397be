//! The assigned lanes of a job, and the rows that belong to them.
//!
//! The lanes that are draining, have ended or have an offset to commit are tracked when they change, so that the cost
//! of a step does not depend on the number of lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::action::Action;
use super::batches::InFlight;
use super::runs::Span;
use super::sink_batcher::Part;
use super::tracker::CommitTracker;
use super::window::Window;
use crate::ids::{BatchId, LaneId, Tick};

/// An assigned lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub tracker: CommitTracker,
    /// The last offset that is known to be committed.
    pub committed: i64,
    pub state: LaneState,
    /// True if the lane is in [`Lanes::uncommitted`].
    is_uncommitted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneState {
    Active,
    Ended,
    Draining { until: Tick },
}

/// The assigned lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    all: BTreeMap<LaneId, Lane>,
    /// The number of lanes that have [ended](LaneState::Ended).
    ended: usize,
    draining: BTreeSet<LaneId>,
    /// The lanes with a watermark that is not known to be committed.
    uncommitted: BTreeSet<LaneId>,
}

impl Lanes {
    /// Adds a lane that reads from `position`.
    pub(super) fn assign(&mut self, id: LaneId, position: i64) {
        // The start position is also committed. Otherwise the next owner could start at the newest record.
        let tracker = CommitTracker::new(position);
        let lane = Lane { tracker, committed: -1, state: LaneState::Active, is_uncommitted: true };
        self.remove(id);
        self.all.insert(id, lane);
        self.uncommitted.insert(id);
    }

    /// Removes a lane.
    pub(super) fn remove(&mut self, id: LaneId) -> Option<Lane> {
        let lane = self.all.remove(&id)?;
        self.ended -= usize::from(lane.state == LaneState::Ended);
        self.draining.remove(&id);
        self.uncommitted.remove(&id);
        Some(lane)
    }

    pub(super) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.all.get(&id)
    }

    pub(super) fn contains(&self, id: LaneId) -> bool {
        self.all.contains_key(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.all.iter().map(|(id, lane)| (*id, lane))
    }

    /// Changes the tracker or the committed offset of a lane.
    pub(super) fn change<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let lane = self.all.get_mut(&id)?;
        let result = change(lane);
        let is_uncommitted = lane.tracker.watermark() > lane.committed;
        if is_uncommitted != lane.is_uncommitted {
            lane.is_uncommitted = is_uncommitted;
            if is_uncommitted {
                self.uncommitted.insert(id);
            } else {
                self.uncommitted.remove(&id);
            }
        }
        Some(result)
    }

    /// Changes the state of a lane.
    pub(super) fn set_state(&mut self, id: LaneId, state: LaneState) {
        let Some(lane) = self.all.get_mut(&id) else { return };
        self.ended -= usize::from(lane.state == LaneState::Ended);
        self.ended += usize::from(state == LaneState::Ended);
        lane.state = state;
        if matches!(state, LaneState::Draining { .. }) {
            self.draining.insert(id);
        } else {
            self.draining.remove(&id);
        }
    }

    /// Returns true if every lane has ended, or if there is no lane.
    pub(super) fn have_ended(&self) -> bool {
        self.ended == self.all.len()
    }

    /// Returns the lanes that are draining, each with its deadline.
    pub(super) fn draining(&self) -> impl Iterator<Item = (LaneId, &Lane, Tick)> {
        let lanes = self.draining.iter().filter_map(|id| Some((*id, self.all.get(id)?)));
        lanes.filter_map(|(id, lane)| match lane.state {
            LaneState::Draining { until } => Some((id, lane, until)),
            LaneState::Active | LaneState::Ended => None,
        })
    }

    /// Returns true if a lane is draining.
    pub(super) fn is_draining(&self) -> bool {
        !self.draining.is_empty()
    }

    /// Returns the lanes with a watermark that is not known to be committed, in ascending order.
    pub(super) fn uncommitted(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.uncommitted.iter().filter_map(|id| Some((*id, self.all.get(id)?)))
    }

    /// Returns the first invariant that is broken, if one is.
    pub(super) fn invariant(&self) -> Option<&'static str> {
        let ended = self.all.values().filter(|lane| lane.state == LaneState::Ended).count();
        let is_draining = |lane: &Lane| matches!(lane.state, LaneState::Draining { .. });
        let draining = self.all.iter().filter(|(_, lane)| is_draining(lane)).map(|(id, _)| id);
        let is_uncommitted = |lane: &Lane| lane.tracker.watermark() > lane.committed;
        let uncommitted = self.all.iter().filter(|(_, lane)| is_uncommitted(lane)).map(|(id, _)| id);
        if ended != self.ended {
            Some("the number of ended lanes is wrong")
        } else if !draining.eq(&self.draining) {
            Some("the list of draining lanes is wrong")
        } else {
            (!uncommitted.eq(&self.uncommitted)).then_some("the list of uncommitted lanes is wrong")
        }
    }
}

/// Writes the live rows of a batch except those in `left_out`, which is in ascending order.
pub(super) fn write_all_but(
    id: BatchId,
    batch: &InFlight,
    lanes: &Lanes,
    left_out: impl Iterator<Item = u32>,
    actions: &mut Vec<Action>,
) {
    let mut start = 0;
    for row in left_out.chain([batch.rows]) {
        for_each_live(batch, lanes, &(start..row), |rows| actions.push(Action::Write(id, rows)));
        start = row + 1;
    }
}

/// Returns true if a row is live: its lane is still assigned.
pub(super) fn is_live(batch: &InFlight, lanes: &Lanes, row: u32) -> bool {
    batch.runs.lane_of(row).is_some_and(|lane| lanes.contains(lane))
}

/// Calls `each` with the live rows among `rows`, in as few ranges as possible.
pub(super) fn for_each_live(
    batch: &InFlight,
    lanes: &Lanes,
    rows: &Range<u32>,
    mut each: impl FnMut(Range<u32>),
) {
    let mut open: Option<Range<u32>> = None;
    let live = batch.runs.spans(rows).filter(|span| lanes.contains(span.lane));
    for Span { rows, .. } in live {
        match &mut open {
            Some(range) if range.end == rows.start => range.end = rows.end,
            _ => open.replace(rows).into_iter().for_each(&mut each),
        }
    }
    open.into_iter().filter(|range| !range.is_empty()).for_each(each);
}

/// Returns the number of live rows of a part that are not settled.
pub(super) fn open_rows_of(batches: &Window<InFlight>, lanes: &Lanes, (id, rows): &Part) -> u64 {
    let Some(batch) = batches.get(*id) else { return 0 };
    let open = batch.runs.spans(rows).filter_map(|Span { lane, sequence, .. }| {
        Some(u64::from(lanes.get(lane)?.tracker.unsettled_in(sequence)))
    });
    open.sum()
}
