//! The state of one partition that is read: offsets and errors in; the position, and whether the lane has ended, out.

use crate::ids::{LaneId, LaneName, Tick};

/// A partition that is read. A fetcher keeps the records of the lane.
#[derive(Debug)]
pub(in crate::kafka) struct Lane {
    pub id: LaneId,
    pub name: LaneName,
    /// The offset of the next record to take.
    pub position: i64,
    /// True if `position` was moved past offsets without records and this was not reported yet.
    pub(super) passed: bool,
    /// The offset at which the job stops reading, if there is one.
    pub(super) end: Option<i64>,
    /// True if the lane was read to `end`.
    pub(super) ended: bool,
    /// The reason if the lane cannot be read at `position`.
    pub(super) broken: Option<Broken>,
    /// The temporary error of the current fetches, if they fail.
    pub(super) failing: Option<Failing>,
}

/// Why a lane cannot be read at its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Broken {
    pub reason: String,
    /// The offset from which on the partition is known to have other records than those that were read: it was truncated,
    /// or its topic was created again.
    pub differs_from: Option<i64>,
}

impl Broken {
    /// Creates one whose partition may be the same as before.
    pub(in crate::kafka) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), differs_from: None }
    }
}

/// A temporary error of fetches, which are repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failing {
    pub since: Tick,
    pub last: Tick,
    pub reason: String,
    pub kind: FailureKind,
}

/// How long fetches may fail, and how it is known that they no longer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The brokers answer with errors. Success is silent: fetches are taken for good after a while without an error.
    Silent,
    /// The brokers answer with errors, or with what cannot be read. Success is reported.
    Refused,
    /// No broker can be asked: an outage, or no leader. The job waits for its end. Success is reported.
    Unavailable,
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is the next one of the lane.
    Take,
    /// It was taken before: a partition that is fetched again can return it again.
    Known,
    /// It comes after the end of the lane.
    Beyond,
}

impl Lane {
    /// Creates a lane that is read from `position` up to, but not including, `end`, if there is one.
    pub(super) fn new(id: LaneId, name: LaneName, (position, end): (i64, Option<i64>)) -> Self {
        let ended = end.is_some_and(|end| position >= end);
        Self { id, name, position, passed: false, end, ended, broken: None, failing: None }
    }

    /// Returns true if records can be taken.
    pub(super) fn is_open(&self) -> bool {
        !self.ended && self.broken.is_none()
    }

    /// Returns true if the lane cannot be read at its position.
    pub(in crate::kafka) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Returns what to do with the record at `offset`.
    pub(super) fn fate(&self, offset: i64) -> Fate {
        if offset < self.position {
            Fate::Known
        } else if self.ended || self.end.is_some_and(|end| offset >= end) {
            Fate::Beyond
        } else {
            Fate::Take
        }
    }

    /// Moves past a record that was taken.
    pub(super) fn took(&mut self, offset: i64) {
        self.position = offset + 1;
        self.ended = self.end.is_some_and(|end| offset + 1 >= end);
    }

    /// Moves to `offset`: there are no records before it that were not taken.
    pub(super) fn pass(&mut self, offset: i64) {
        self.ended |= self.end.is_some_and(|end| offset >= end);
        self.passed |= offset > self.position;
        self.position = self.position.max(offset);
    }

    /// Moves to the end of the lane: there are no records before it that were not taken.
    pub(super) fn pass_to_end(&mut self) {
        if let Some(end) = self.end {
            self.pass(end);
        }
        self.ended = true;
    }

    /// Notes that a fetch has failed with a temporary error.
    pub(super) fn fetch_failed(&mut self, now: Tick, kind: FailureKind, reason: impl FnOnce() -> String) {
        match &mut self.failing {
            Some(failing) if failing.kind == kind => failing.last = now,
            failing => *failing = Some(Failing { since: now, last: now, reason: reason(), kind }),
        }
    }
}
