//! A [`Fetcher`] that reads the partition queues of librdkafka.
#![allow(clippy::disallowed_methods, reason = "the age of records is measured by the wall clock")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::BaseConsumer;
use velo_schema::Tier;

use super::lane::{Failing, Lane};
use super::ready::ReadyLanes;
use super::{Bounds, Fetcher};
use crate::batch::BatchBuilder;
use crate::core::batcher::Capacity;
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::KafkaError;
use crate::kafka::context::Context;
use crate::kafka::ffi::{PartitionQueue, known_end};
use crate::memory::MemoryBudget;
use crate::source::{Filled, SourceError, SourceEvent};
use crate::waker::Waker;

/// The time for which fetches of a partition may fail with a temporary error before the job fails.
const FETCH_PATIENCE: Duration = Duration::from_mins(2);
/// The time without a failed fetch after which fetches are assumed to succeed again.
const FETCH_SILENCE: Duration = Duration::from_secs(30);
/// The interval at which every lane is read even if its queue has not called back.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The queues of the partitions of a consumer.
pub(in crate::kafka) struct QueueFetcher {
    consumer: Arc<BaseConsumer<Context>>,
    open: BTreeMap<LaneId, Lane>,
    by_name: HashMap<LaneName, LaneId>,
    ready: ReadyLanes,
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
    now: Tick,
    swept: Tick,
    notices: Vec<String>,
    /// The start of the engine in nanoseconds since the epoch. Arrival times are relative to it.
    start_epoch_ns: Option<i64>,
    /// The approximate number of bytes to take from a queue with one call.
    call_bytes: u64,
    /// The size of a record that is assumed before the first record was read, in bytes.
    first_record_bytes: u64,
}

impl QueueFetcher {
    /// Creates a fetcher without lanes. It wakes `waker` when records arrive.
    pub(crate) fn new(consumer: Arc<BaseConsumer<Context>>, memory: &MemoryBudget, waker: Waker) -> Self {
        Self {
            consumer,
            open: BTreeMap::new(),
            by_name: HashMap::new(),
            ready: ReadyLanes::new(waker),
            ended: Vec::new(),
            passed: Vec::new(),
            failing: BTreeSet::new(),
            broken: BTreeSet::new(),
            unended: 0,
            now: Tick::default(),
            swept: Tick::default(),
            notices: Vec::new(),
            start_epoch_ns: None,
            call_bytes: memory.call_bytes(),
            first_record_bytes: memory.first_record_bytes(),
        }
    }

    /// Sets the time. The first call relates the engine's clock to the wall clock.
    pub(crate) fn set_clock(&mut self, now: Tick) {
        self.now = now;
        self.start_epoch_ns.get_or_insert_with(|| {
            let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let start = epoch.as_nanos().saturating_sub(u128::from(now.0));
            i64::try_from(start).unwrap_or(i64::MAX)
        });
    }

    /// Returns true if every lane was read to its end.
    pub(crate) fn all_ended(&self) -> bool {
        self.unended == 0
    }

    /// Reports the lanes that have ended or have passed offsets without records since the last call, and changes of
    /// fetch errors.
    ///
    /// # Errors
    /// If fetches of a lane have failed for longer than `FETCH_PATIENCE`.
    pub(crate) fn report(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        for id in self.passed.drain(..) {
            if let Some(lane) = self.open.get_mut(&id).filter(|lane| lane.passed) {
                lane.passed = false;
                events.push(SourceEvent::Position(id, lane.position));
            }
        }
        events.extend(self.ended.drain(..).map(SourceEvent::Ended));
        events.extend(self.notices.drain(..).map(SourceEvent::Notice));
        let now = self.now;
        for id in std::mem::take(&mut self.failing) {
            let Some(lane) = self.open.get_mut(&id) else { continue };
            // A successful fetch without records is not reported, so errors that stop are the only sign.
            if lane.failing.take_if(|failing| now.since(failing.last) >= FETCH_SILENCE).is_some() {
                events.push(SourceEvent::Notice(format!("{} can be read again", lane.name)));
            }
            let Some(Failing { since, reason, .. }) = &lane.failing else { continue };
            if now.since(*since) >= FETCH_PATIENCE {
                let error = format!("{} could not be read for {FETCH_PATIENCE:?}: {reason}", lane.name);
                return Err(SourceError(error));
            }
            self.failing.insert(id);
        }
        Ok(())
    }

    /// Returns the lanes that cannot be read at their position, each with the reason.
    pub(crate) fn broken(&self) -> impl Iterator<Item = (&Lane, &str)> {
        let lanes = self.broken.iter().filter_map(|id| self.open.get(id));
        lanes.filter_map(|lane| Some((lane, lane.broken.as_deref()?)))
    }

    /// Drops the fetched records of all lanes and returns the positions from which the lanes are fetched again.
    pub(crate) fn refetch(&mut self) -> Vec<(LaneName, i64)> {
        let again = |lane: &mut Lane| {
            lane.rest.clear();
            self.ready.add(lane.id);
            (lane.name.clone(), lane.position)
        };
        self.open.values_mut().map(again).collect()
    }

    /// Returns the offset of the next record of a lane.
    pub(crate) fn position(&self, id: LaneId) -> Option<i64> {
        self.open.get(&id).map(|lane| lane.position)
    }

    /// Returns the partition of a lane.
    pub(crate) fn name(&self, id: LaneId) -> Option<&LaneName> {
        self.open.get(&id).map(|lane| &lane.name)
    }

    /// Stops all lanes.
    pub(crate) fn clear(&mut self) {
        self.by_name.clear();
        self.open.clear();
        self.unended = 0;
    }
}

impl Fetcher for QueueFetcher {
    fn start(&mut self, id: LaneId, name: &LaneName, bounds: Bounds) -> Result<(), KafkaError> {
        let ready = self.ready.clone();
        let queue = PartitionQueue::split(&self.consumer, &name.topic, name.partition, move || ready.add(id))
            .ok_or_else(|| KafkaError::new(format!("the client has no queue for {name}")))?;
        let lane = Lane::new((id, name.clone()), queue, bounds, self.first_record_bytes);
        if lane.ended {
            self.ended.push(id);
        } else {
            self.unended += 1;
        }
        self.open.insert(id, lane);
        self.by_name.insert(name.clone(), id);
        Ok(())
    }

    fn stop(&mut self, id: LaneId) {
        let Some(lane) = self.open.remove(&id) else { return };
        self.unended -= usize::from(!lane.ended);
        if self.by_name.get(&lane.name) == Some(&id) {
            self.by_name.remove(&lane.name);
        }
        self.broken.remove(&id);
        self.failing.remove(&id);
    }

    fn seek(&mut self, id: LaneId, position: i64) {
        if let Some(lane) = self.open.get_mut(&id) {
            lane.position = position;
            lane.broken = None;
            lane.rest.clear();
            self.broken.remove(&id);
            // A queue that already has messages does not call back again.
            self.ready.add(id);
        }
    }

    fn ready(&mut self, lanes: &mut Vec<LaneId>) {
        self.ready.take(lanes);
        if self.now.since(self.swept) >= SWEEP_INTERVAL {
            self.swept = self.now;
            lanes.extend(self.open.keys());
        }
    }

    fn take(
        &mut self,
        id: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let clock = (self.now, self.start_epoch_ns.unwrap_or(0), self.call_bytes);
        let Some(lane) = self.open.get_mut(&id) else {
            return Ok(Filled { drained: true, ..Filled::default() });
        };
        let (failed_before, ended_before) = (lane.failing.is_some(), lane.ended);
        let filled = lane.fill(tier, room, clock, batch);
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
        filled
    }

    fn end_offset(&self, id: LaneId) -> Option<i64> {
        let lane = self.open.get(&id)?;
        known_end(&self.consumer, &lane.name).or(lane.end)
    }
}
