//! A [`Fetcher`] of our own: it asks the leaders of partitions for records and reads the records where they were
//! received.
//!
//! ```text
//! finder.rs ── leaders ──► state.rs ── partitions to ask for ──► broker.rs, one thread a broker
//!                             ▲ │                                    │
//!            lanes, positions │ └── segments ◄── decoded records ────┘
//!                             │        │
//!                          mod.rs ◄────┘ segments.rs: rows of the open batch (poll thread)
//! ```

mod broker;
mod config;
mod finder;
mod health;
mod probe;
mod segments;
mod shared;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use velo_schema::Tier;

use super::clock::Clock;
use super::lanes::Lanes;
use super::ready::ReadyLanes;
use super::{Bounds, Fetcher};
use crate::batch::BatchBuilder;
use crate::core::batcher::Capacity;
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::KafkaError;
use crate::memory::MemoryBudget;
use crate::source::{Filled, SourceError, SourceEvent};
use crate::waker::Waker;
use config::Config;
pub(super) use probe::probe;
use segments::Segments;
use shared::Shared;

/// The interval at which it is reported that brokers throttle the fetches.
const THROTTLE_INTERVAL: Duration = Duration::from_secs(5);

/// Fetches partitions of one topic on connections of its own.
pub(in crate::kafka) struct NativeFetcher {
    shared: Arc<Shared>,
    lanes: Lanes,
    segments: HashMap<LaneId, Segments>,
    clock: Clock,
    told_of_throttle: Tick,
    /// The number of fetched bytes in use up to which batches refer to them. Beyond it records are copied.
    most_shared_bytes: usize,
}

impl NativeFetcher {
    /// Creates a fetcher without lanes. It wakes `waker` when records arrive. `config` is an effective configuration,
    /// in which every default is set.
    ///
    /// # Errors
    /// If a certificate cannot be read, or the thread that finds leaders cannot be started.
    pub(in crate::kafka) fn start(
        config: &ClientConfig,
        topic: &str,
        memory: &MemoryBudget,
        waker: Waker,
    ) -> Result<Self, KafkaError> {
        let shared = Arc::new(Shared::new(Config::of(config)?, topic, ReadyLanes::new(waker)));
        let finder = Arc::clone(&shared);
        thread::Builder::new()
            .name("velo-fetch-leaders".to_owned())
            .spawn(move || finder.guard(|| finder::run(&finder)))
            .map_err(|error| KafkaError::new(format!("no thread for fetching: {error}")))?;
        let most_shared_bytes = usize::try_from(memory.prefetch_bytes + memory.in_flight_bytes / 2);
        Ok(Self {
            shared,
            lanes: Lanes::default(),
            segments: HashMap::new(),
            clock: Clock::default(),
            told_of_throttle: Tick::default(),
            most_shared_bytes: most_shared_bytes.unwrap_or(usize::MAX),
        })
    }
}

impl Fetcher for NativeFetcher {
    fn set_clock(&mut self, now: Tick) {
        self.clock.set(now);
    }

    fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    fn report(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        if self.clock.now.since(self.told_of_throttle) >= THROTTLE_INTERVAL
            && let Some(throttle) = self.shared.state().throttled.take()
        {
            self.told_of_throttle = self.clock.now;
            events.push(SourceEvent::Throttled(throttle));
        }
        self.lanes.report(self.clock.now, events)
    }

    fn uses_client(&self) -> bool {
        false
    }

    fn start(&mut self, id: LaneId, name: &LaneName, bounds: Bounds) -> Result<(), KafkaError> {
        self.lanes.start(id, name, bounds);
        self.segments.insert(id, Segments::default());
        if self.lanes.get(id).is_some_and(super::lane::Lane::is_open) {
            self.shared.change(|state| state.start(id, name.partition, bounds.0));
        }
        Ok(())
    }

    fn stop(&mut self, id: LaneId) {
        self.lanes.stop(id);
        self.segments.remove(&id);
        self.shared.change(|state| state.stop(id));
    }

    fn clear(&mut self) {
        self.lanes.clear();
        self.segments.clear();
        self.shared.change(state::State::clear);
    }

    fn seek(&mut self, id: LaneId, position: i64) {
        if self.lanes.seek(id, position) {
            if let Some(segments) = self.segments.get_mut(&id) {
                segments.clear();
            }
            // Whether it can be read there is not known yet.
            self.lanes.change(id, |lane| lane.failing = None);
            let has_ended = self.lanes.get(id).is_some_and(|lane| lane.ended);
            self.shared.change(|state| {
                state.seek(id, position);
                if has_ended {
                    state.finish(id);
                }
            });
        }
    }

    fn refetch(&mut self) -> Vec<(LaneName, i64)> {
        self.lanes.iter().map(|lane| (lane.name.clone(), lane.position)).collect()
    }

    fn ready(&mut self, lanes: &mut Vec<LaneId>) {
        self.shared.ready.take(lanes);
        self.lanes.sweep(self.clock.now, lanes);
    }

    fn take(
        &mut self,
        id: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let how = (self.clock, self.shared.pool.used_bytes() > self.most_shared_bytes);
        let (lanes, shared) = (&mut self.lanes, &self.shared);
        let filled = self.segments.get_mut(&id).and_then(|segments| {
            lanes.change(id, |lane| {
                let was_open = lane.is_open();
                let filled = segments.fill(lane, (tier, room), how, batch, shared);
                if was_open && lane.ended {
                    segments.clear();
                    shared.change(|state| state.finish(id));
                }
                filled
            })
        });
        filled.unwrap_or(Ok(Filled { drained: true, ..Filled::default() }))
    }

    fn end_offset(&self, id: LaneId) -> Option<i64> {
        self.shared.state().ends(id).0.or(self.lanes.get(id)?.end)
    }

    fn stable_end(&self, id: LaneId) -> Option<i64> {
        let (high_watermark, last_stable_offset) = self.shared.state().ends(id);
        last_stable_offset.filter(|stable| Some(*stable) < high_watermark)
    }
}

impl Drop for NativeFetcher {
    fn drop(&mut self) {
        self.shared.close();
    }
}
