//! Identifiers that all parts of a job share: lanes, batches, partitions and times on the engine's clock.

use std::sync::Arc;
use std::time::Duration;

/// One assignment of a partition. Order and commits are kept per lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u32);

/// A batch. Batches are numbered in the order in which they are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u32);

/// The partition of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneName {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl std::fmt::Display for LaneName {
    /// Writes `topic[partition]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// The names of all lanes since the start of the job. Lanes are numbered from 0. Clones share their memory.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Vec<Option<LaneName>>>);

impl Names {
    /// Sets the name of a lane.
    pub fn insert(&mut self, lane: LaneId, name: LaneName) {
        let names = Arc::make_mut(&mut self.0);
        let index = lane.0 as usize;
        names.resize(names.len().max(index + 1), None);
        names[index] = Some(name);
    }

    /// Returns the name of a lane, if it has one.
    #[must_use]
    pub fn get(&self, lane: LaneId) -> Option<&LaneName> {
        self.0.get(lane.0 as usize)?.as_ref()
    }
}

/// A time on the engine's clock, in nanoseconds since the engine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Returns the time from `earlier` to this tick; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Tick {
    type Output = Self;

    /// Adds a duration. The sum saturates at `u64::MAX` nanoseconds, which is about 584 years.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}
