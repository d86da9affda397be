//! What the parts of a job call things by: lanes, batches, partitions and times on the engine's clock.

use std::sync::Arc;
use std::time::Duration;

/// One assignment of one partition: the unit of order and of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u32);

/// A batch, in the order of sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u32);

/// Where a lane's records come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneName {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl std::fmt::Display for LaneName {
    /// As everywhere: `topic[partition]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// The names of all lanes so far. Clones are cheap; lanes are numbered from 0.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Vec<Option<LaneName>>>);

impl Names {
    /// Gives a lane its name.
    pub fn insert(&mut self, lane: LaneId, name: LaneName) {
        let names = Arc::make_mut(&mut self.0);
        let index = lane.0 as usize;
        names.resize(names.len().max(index + 1), None);
        names[index] = Some(name);
    }

    /// A lane's name, where it has one.
    #[must_use]
    pub fn get(&self, lane: LaneId) -> Option<&LaneName> {
        self.0.get(lane.0 as usize)?.as_ref()
    }
}

/// A time on the engine's clock: nanoseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The time that passes from `earlier` to this one; zero where it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Tick {
    type Output = Self;

    /// Saturating: a deadline beyond five hundred years never comes.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}
