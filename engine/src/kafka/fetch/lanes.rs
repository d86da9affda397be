//! The partitions that are read: lanes to start and stop in; changes of their state since the last report out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lane::{Broken, Failing, FailureKind, Lane};
use crate::ids::{LaneId, LaneName, Tick};
use crate::source::{SourceError, SourceEvent};

/// The time for which fetches of a partition may fail with a temporary error before the job fails.
const FETCH_PATIENCE: Duration = Duration::from_mins(2);
/// The time without a failed fetch after which fetches are assumed to succeed again, if success is silent.
const FETCH_SILENCE: Duration = Duration::from_secs(30);

/// The interval at which every lane is read even if nothing was reported of it.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The lanes of a fetcher.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Lanes {
    open: BTreeMap<LaneId, Lane>,
    /// The lanes that have ended since the last report.
    ended: Vec<LaneId>,
    /// The lanes that have passed offsets without records since the last report.
    passed: Vec<LaneId>,
    /// The lanes with a temporary fetch error.
    failing: BTreeSet<LaneId>,
    /// The lanes that cannot be read at their position.
    broken: BTreeSet<LaneId>,
    /// The number of lanes that have not ended.
    unended: usize,
    /// The time at which all lanes were last read.
    swept: Tick,
    notices: Vec<String>,
}

impl Lanes {
    /// Adds a lane that is read from the first bound up to the second, if there is one.
    pub(super) fn start(&mut self, id: LaneId, name: &LaneName, bounds: super::Bounds) {
        let lane = Lane::new(id, name.clone(), bounds);
        if lane.ended {
            self.ended.push(id);
        } else {
            self.unended += 1;
        }
        self.open.insert(id, lane);
    }

    /// Removes a lane.
    pub(super) fn stop(&mut self, id: LaneId) {
        let Some(lane) = self.open.remove(&id) else { return };
        self.unended -= usize::from(!lane.ended);
        self.broken.remove(&id);
        self.failing.remove(&id);
    }

    /// Moves a lane, which may go back, to `position`. Returns false if there is no such lane.
    pub(super) fn seek(&mut self, id: LaneId, position: i64) -> bool {
        let Some(lane) = self.open.get_mut(&id) else { return false };
        lane.position = position;
        lane.broken = None;
        self.broken.remove(&id);
        // Nothing may follow that says so.
        if !lane.ended && lane.end.is_some_and(|end| position >= end) {
            lane.ended = true;
            self.unended -= 1;
            self.ended.push(id);
        }
        true
    }

    /// Removes all lanes.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Changes a lane with `change`, and notes what has become of it. Returns `None` if there is no such lane.
    pub(super) fn change<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let lane = self.open.get_mut(&id)?;
        let (failed_before, ended_before) = (lane.failing.is_some(), lane.ended);
        let result = change(lane);
        match &lane.failing {
            Some(Failing { reason, .. }) if !failed_before => {
                self.failing.insert(id);
                self.notices.push(format!("{} cannot be read; fetches are retried: {reason}", lane.name));
            }
            None if failed_before => {
                self.failing.remove(&id);
                self.notices.push(format!("{} can be read again", lane.name));
            }
            _ => {}
        }
        if lane.ended && !ended_before {
            self.unended -= 1;
            self.ended.push(id);
        }
        if lane.passed {
            self.passed.push(id);
        }
        if lane.broken.is_some() {
            self.broken.insert(id);
        }
        Some(result)
    }

    /// Reports the lanes that have ended or have passed offsets without records since the last call, and changes of
    /// fetch errors.
    ///
    /// # Errors
    /// If fetches of a lane have failed for longer than `FETCH_PATIENCE`.
    pub(in crate::kafka) fn report(
        &mut self,
        now: Tick,
        events: &mut Vec<SourceEvent>,
    ) -> Result<(), SourceError> {
        for id in self.passed.drain(..) {
            if let Some(lane) = self.open.get_mut(&id).filter(|lane| lane.passed) {
                lane.passed = false;
                events.push(SourceEvent::Position(id, lane.position));
            }
        }
        events.extend(self.ended.drain(..).map(SourceEvent::Ended));
        events.extend(self.notices.drain(..).map(SourceEvent::Notice));
        for id in std::mem::take(&mut self.failing) {
            let Some(lane) = self.open.get_mut(&id) else { continue };
            let is_over = |failing: &mut Failing| {
                failing.kind == FailureKind::Silent && now.since(failing.last) >= FETCH_SILENCE
            };
            if lane.failing.take_if(is_over).is_some() {
                events.push(SourceEvent::Notice(format!("{} can be read again", lane.name)));
            }
            let Some(Failing { since, reason, kind, .. }) = &lane.failing else { continue };
            if *kind != FailureKind::Unavailable && now.since(*since) >= FETCH_PATIENCE {
                let error = format!("{} could not be read for {FETCH_PATIENCE:?}: {reason}", lane.name);
                return Err(SourceError(error));
            }
            self.failing.insert(id);
        }
        Ok(())
    }

    /// Appends all lanes once per [`SWEEP_INTERVAL`].
    pub(super) fn sweep(&mut self, now: Tick, into: &mut Vec<LaneId>) {
        if now.since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            into.extend(self.open.keys());
        }
    }

    /// Returns true if every lane was read to its end.
    pub(in crate::kafka) fn all_ended(&self) -> bool {
        self.unended == 0
    }

    /// Returns the lanes that cannot be read at their position, each with the reason.
    pub(in crate::kafka) fn broken(&self) -> impl Iterator<Item = (&Lane, &Broken)> {
        let lanes = self.broken.iter().filter_map(|id| self.open.get(id));
        lanes.filter_map(|lane| Some((lane, lane.broken.as_ref()?)))
    }

    /// Returns a lane.
    pub(in crate::kafka) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.open.get(&id)
    }

    /// Returns all lanes.
    pub(in crate::kafka) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.open.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(bounds: super::super::Bounds) -> Lanes {
        let mut lanes = Lanes::default();
        lanes.start(LaneId(1), &LaneName { topic: "t".into(), partition: 0 }, bounds);
        lanes
    }

    fn report(lanes: &mut Lanes, seconds: u64) -> Result<Vec<SourceEvent>, SourceError> {
        let mut events = Vec::new();
        lanes.report(Tick(seconds * 1_000_000_000), &mut events).map(|()| events)
    }

    #[test]
    fn a_lane_ends_once() {
        let mut lanes = lanes((3, Some(5)));
        assert!(!lanes.all_ended());
        lanes.change(LaneId(1), |lane| lane.took(3));
        assert_eq!(report(&mut lanes, 0).unwrap(), []);
        lanes.change(LaneId(1), |lane| lane.pass(6));
        assert!(lanes.all_ended());
        assert_eq!(
            report(&mut lanes, 0).unwrap(),
            [SourceEvent::Position(LaneId(1), 6), SourceEvent::Ended(LaneId(1))]
        );
        lanes.change(LaneId(1), Lane::pass_to_end);
        assert_eq!(report(&mut lanes, 0).unwrap(), []);
    }

    #[test]
    fn fetches_that_fail_for_too_long_are_an_error() {
        let mut lanes = lanes((0, None));
        let fail = |lanes: &mut Lanes, seconds: u64, kind| {
            let at = Tick(seconds * 1_000_000_000);
            lanes.change(LaneId(1), |lane| lane.fetch_failed(at, kind, || "no leader".to_owned()));
        };
        let silent = FailureKind::Silent;
        fail(&mut lanes, 1, silent);
        let notice = SourceEvent::Notice("t[0] cannot be read; fetches are retried: no leader".to_owned());
        assert_eq!(report(&mut lanes, 1).unwrap(), [notice]);
        assert_eq!(report(&mut lanes, 31).unwrap().len(), 1, "no failure for 30 seconds");
        for seconds in (40..160).step_by(10) {
            fail(&mut lanes, seconds, silent);
            assert!(report(&mut lanes, seconds).is_ok());
        }
        fail(&mut lanes, 160, silent);
        let error = report(&mut lanes, 160).unwrap_err();
        assert!(error.0.contains("t[0] could not be read for 120s: no leader"), "{error}");
    }

    #[test]
    fn an_outage_is_waited_for_and_success_ends_it() {
        let mut lanes = lanes((0, None));
        let fail = |lanes: &mut Lanes, seconds: u64, kind| {
            let at = Tick(seconds * 1_000_000_000);
            lanes.change(LaneId(1), |lane| lane.fetch_failed(at, kind, || "gone".to_owned()));
        };
        for seconds in (1..3600).step_by(40) {
            fail(&mut lanes, seconds, FailureKind::Unavailable);
            assert_eq!(report(&mut lanes, seconds).unwrap().len(), usize::from(seconds == 1));
        }
        fail(&mut lanes, 3600, FailureKind::Refused);
        assert_eq!(report(&mut lanes, 3700).unwrap(), [], "an answer that is an error, for 100 seconds");
        lanes.change(LaneId(1), |lane| lane.failing = None);
        let notice = SourceEvent::Notice("t[0] can be read again".to_owned());
        assert_eq!(report(&mut lanes, 3700).unwrap(), [notice]);
        fail(&mut lanes, 3800, FailureKind::Refused);
        assert!(report(&mut lanes, 3919).is_ok() && report(&mut lanes, 3920).is_err());
    }

    #[test]
    fn a_lane_that_is_moved_past_its_end_has_ended() {
        let mut lanes = lanes((3, Some(10)));
        assert!(lanes.seek(LaneId(1), 9) && !lanes.all_ended());
        assert!(lanes.seek(LaneId(1), 10) && lanes.all_ended());
        assert_eq!(report(&mut lanes, 0).unwrap(), [SourceEvent::Ended(LaneId(1))]);
        assert!(lanes.seek(LaneId(1), 12));
        assert_eq!(report(&mut lanes, 0).unwrap(), []);
    }

    #[test]
    fn a_broken_lane_is_mended_by_moving_it() {
        let mut lanes = lanes((7, None));
        lanes.change(LaneId(1), |lane| lane.broken = Some(Broken::new("gone")));
        let broken: Vec<_> = lanes.broken().map(|(lane, broken)| (lane.position, broken.clone())).collect();
        assert_eq!(broken, [(7, Broken::new("gone"))]);
        assert!(lanes.seek(LaneId(1), 2));
        assert_eq!(lanes.broken().count(), 0);
        assert_eq!(lanes.get(LaneId(1)).map(|lane| lane.position), Some(2));
        lanes.stop(LaneId(1));
        assert!(!lanes.seek(LaneId(1), 2) && lanes.all_ended());
    }
}
