//! Decides when the open batch is sealed: rows, bytes and times in, the reason to seal out.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::tier::STANDARD_MAX_RECORDS;
use velo_schema::{Config, Strategy, Tier};

use super::controller::{Controller, Target};
use crate::ids::Tick;

/// Why a batch was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SealReason {
    /// The batch reached its maximum number of records.
    Count,
    /// The next record would have exceeded the maximum size in bytes.
    Bytes,
    /// The first record of the batch had waited for the maximum time.
    Time,
    /// No record was queued and a worker was idle.
    Eager,
    /// The limit on bytes in flight was reached.
    Memory,
    /// No more records were expected: the input ended, the job was stopped or a partition was revoked.
    Drain,
}

impl std::fmt::Display for SealReason {
    /// Writes the reason as reports do.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// The limits at which a batch is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRule {
    /// The maximum number of records.
    pub max_records: u64,
    /// The maximum number of bytes. A batch of a single record may exceed this limit.
    pub max_bytes: Option<u64>,
    /// The maximum time that the first record waits.
    pub wait: Duration,
    /// True if the batch is sealed as soon as no record is queued and a worker is idle.
    pub eager: bool,
    /// The target of an adaptive size, at most `max_records`. `None` for a fixed size.
    pub adaptive: Option<Target>,
}

impl SealRule {
    /// Returns a rule with a limit on records and no limit on bytes.
    #[must_use]
    pub fn of_records(max_records: u64, wait: Duration) -> Self {
        Self { max_records, max_bytes: None, wait, eager: false, adaptive: None }
    }

    /// Returns the rule of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let cap = config.max_batch_records;
        if !config.enabled {
            return Self::of_records(1, Duration::ZERO);
        }
        match config.strategy {
            Strategy::FixedSize { records, timeout } | Strategy::MegaBatch { records, timeout, .. } => {
                Self::of_records(records.min(cap), timeout)
            }
            Strategy::TimeWindow { window } => Self::of_records(cap, window),
            Strategy::MemoryBased { bytes, timeout } => {
                Self { max_bytes: Some(bytes), ..Self::of_records(cap, timeout) }
            }
            Strategy::AdaptiveSize { min_records, max_records, target_latency, timeout } => {
                let (min_records, max_records) = (min_records.min(cap), max_records.min(cap));
                let target = Target { min_records, max_records, latency: target_latency };
                // A batch that waits longer than the target misses the target before it is processed.
                let wait = timeout.min(target_latency);
                Self { adaptive: Some(target), ..Self::of_records(max_records, wait) }
            }
            Strategy::LowLatency { max_records, wait, eager } => {
                Self { eager, ..Self::of_records(max_records.min(cap), wait) }
            }
        }
    }
}

/// The free capacity of the open batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    /// The number of records.
    pub records: u64,
    /// The number of bytes of keys and values; `None` if bytes are not limited.
    pub bytes: Option<u64>,
    /// True if the batch is empty. A record of any size fits into an empty batch.
    pub is_empty: bool,
    /// The maximum size in bytes of the first record of an empty batch while other batches are in flight.
    pub first_bytes: Option<u64>,
}

impl Capacity {
    /// Returns a capacity of this many records of any size.
    #[must_use]
    pub fn of_records(records: u64) -> Self {
        Self { records, bytes: None, is_empty: true, first_bytes: None }
    }

    /// Returns true if a record of `bytes` fits after `taken` other records of `taken_bytes`.
    #[must_use]
    pub fn fits(self, taken: u64, taken_bytes: u64, bytes: u64) -> bool {
        let fits_alone = self.is_empty || self.first_bytes.is_some_and(|most| bytes <= most);
        let is_first = fits_alone && taken == 0;
        // A full batch does not accept a record without bytes either.
        let within = |room| taken_bytes < room && taken_bytes.saturating_add(bytes) <= room;
        let within = self.bytes.is_none_or(within);
        taken < self.records && (is_first || within)
    }
}

/// The size and age of the open batch.
#[derive(Debug)]
pub struct Batcher {
    rule: SealRule,
    controller: Option<Controller>,
    records: u64,
    bytes: u64,
    /// True if the next record does not fit.
    exceeded: bool,
    first: Option<Tick>,
}

impl Batcher {
    /// Creates a batcher with an empty batch.
    #[must_use]
    pub fn new(rule: SealRule) -> Self {
        let controller = rule.adaptive.map(Controller::new);
        Self { rule, controller, records: 0, bytes: 0, exceeded: false, first: None }
    }

    /// Returns the current maximum number of records of a batch.
    #[must_use]
    pub fn size(&self) -> u64 {
        let steered = self.controller.as_ref().map(Controller::size);
        steered.unwrap_or(self.rule.max_records)
    }

    /// Returns the free capacity of the open batch.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let records = if self.exceeded { 0 } else { self.size().saturating_sub(self.records) };
        let bytes = self.rule.max_bytes.map(|most| most.saturating_sub(self.bytes));
        Capacity { records, bytes, is_empty: self.records == 0, first_bytes: None }
    }

    /// Adds records to the open batch. Unless the batch is empty, the records must fit into its free capacity.
    pub fn add(&mut self, now: Tick, records: u64, bytes: u64) {
        debug_assert!(self.is_empty() || records <= self.capacity().records);
        self.records += records;
        self.bytes += bytes;
        if records > 0 {
            self.first.get_or_insert(now);
        }
    }

    /// Notes that the next record does not fit into the open batch.
    pub fn exceed(&mut self) {
        self.exceeded = self.records > 0;
    }

    /// Returns true if the open batch has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Returns the latest time at which the open batch is sealed; `None` if the batch is empty.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.first.map(|first| first + self.rule.wait)
    }

    /// Returns the reason to seal the open batch at `now`, if there is one. `idle` is true if no record is queued and
    /// a worker is idle, so that a batch sealed now is processed immediately.
    #[must_use]
    pub fn due(&self, now: Tick, idle: bool) -> Option<SealReason> {
        let first = self.first?;
        let is_full = self.rule.max_bytes.is_some_and(|most| self.bytes >= most);
        if self.records >= self.size() {
            Some(SealReason::Count)
        } else if self.exceeded || is_full {
            Some(SealReason::Bytes)
        } else if now >= first + self.rule.wait {
            Some(SealReason::Time)
        } else {
            (self.rule.eager && idle).then_some(SealReason::Eager)
        }
    }

    /// Starts the next batch.
    pub fn reset(&mut self) {
        self.records = 0;
        self.bytes = 0;
        self.exceeded = false;
        self.first = None;
    }

    /// Adjusts an adaptive size to the service time of a processed batch.
    pub fn observe(&mut self, records: u64, service: Duration, full: bool) {
        if let Some(controller) = &mut self.controller {
            controller.observe(records, service, full);
        }
    }

    /// Returns the tier for the current size, given the current tier. Under a fixed size the tier does not change.
    ///
    /// The tier becomes Buffered above the largest size of the Standard tier and Standard below 4/5 of that size. The
    /// gap keeps a size that varies around the boundary from changing the tier with every batch.
    #[must_use]
    pub fn tier(&self, tier: Tier) -> Tier {
        const DOWN_BELOW: u64 = STANDARD_MAX_RECORDS * 4 / 5;
        let Some(controller) = &self.controller else { return tier };
        match (tier, controller.size()) {
            (Tier::Buffered, size) if size < DOWN_BELOW => Tier::Standard,
            (Tier::Standard, size) if size > STANDARD_MAX_RECORDS => Tier::Buffered,
            (Tier::Auto, size) => Tier::of_records(size),
            _ => tier,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(10);

    fn batcher(max_records: u64, eager: bool) -> Batcher {
        Batcher::new(SealRule { eager, ..SealRule::of_records(max_records, WAIT) })
    }

    fn ms(n: u64) -> Tick {
        Tick::default() + Duration::from_millis(n)
    }

    #[test]
    fn an_empty_batch_is_never_due() {
        let batcher = batcher(1, true);
        assert_eq!(batcher.due(ms(1000), true), None);
        assert_eq!(batcher.deadline(), None);
    }

    #[test]
    fn count_comes_before_time_and_time_counts_from_the_first_record() {
        let mut batcher = batcher(2, false);
        batcher.add(ms(5), 1, 1);
        assert_eq!(batcher.due(ms(14), true), None);
        assert_eq!(batcher.due(ms(15), true), Some(SealReason::Time));
        batcher.add(ms(14), 1, 1);
        assert_eq!(batcher.deadline(), Some(ms(15)));
        assert_eq!(batcher.due(ms(15), true), Some(SealReason::Count));
    }

    #[test]
    fn eager_seals_only_when_a_worker_would_take_the_batch() {
        let mut batcher = batcher(5, true);
        batcher.add(ms(0), 1, 1);
        assert_eq!(batcher.due(ms(0), false), None);
        assert_eq!(batcher.due(ms(0), true), Some(SealReason::Eager));
    }

    #[test]
    fn the_next_batch_starts_its_own_timer() {
        let mut batcher = batcher(2, false);
        batcher.add(ms(0), 2, 2);
        batcher.reset();
        assert_eq!((batcher.capacity().records, batcher.deadline()), (2, None));
        batcher.add(ms(30), 1, 1);
        assert_eq!(batcher.deadline(), Some(ms(40)));
    }

    #[test]
    fn bytes_are_checked_before_a_record_is_added_and_a_large_one_stands_alone() {
        let rule = SealRule { max_bytes: Some(100), ..SealRule::of_records(1000, WAIT) };
        let mut batcher = Batcher::new(rule);
        assert!(batcher.capacity().fits(0, 0, 500), "a first record of any size fits");
        assert!(!batcher.capacity().fits(1, 60, 41) && batcher.capacity().fits(1, 60, 40));
        batcher.add(ms(0), 1, 60);
        assert_eq!(batcher.due(ms(0), true), None);
        assert!(!batcher.capacity().fits(0, 0, 41));
        batcher.exceed();
        assert_eq!((batcher.capacity().records, batcher.due(ms(0), true)), (0, Some(SealReason::Bytes)));
        batcher.reset();
        batcher.add(ms(0), 1, 500);
        assert_eq!(batcher.due(ms(0), true), Some(SealReason::Bytes));
    }

    #[test]
    fn a_batch_that_is_empty_is_not_exceeded() {
        let mut batcher = Batcher::new(SealRule { max_bytes: Some(1), ..SealRule::of_records(5, WAIT) });
        batcher.exceed();
        assert_eq!(batcher.capacity().records, 5);
    }

    #[test]
    fn the_tier_follows_the_steered_size_with_some_slack() {
        let target = Target { min_records: 10, max_records: 1000, latency: Duration::from_secs(1) };
        let mut batcher =
            Batcher::new(SealRule { adaptive: Some(target), ..SealRule::of_records(1000, WAIT) });
        assert_eq!(batcher.tier(Tier::Auto), Tier::Standard);
        // At 1 ms per record the size converges to 850.
        for _ in 0..20 {
            let size = batcher.capacity().records;
            batcher.observe(size, Duration::from_millis(size), true);
        }
        assert_eq!(batcher.tier(Tier::Standard), Tier::Buffered);
        // Ten times slower: the size is 85, still above 4/5 of the boundary. Then it is 42, below it.
        for _ in 0..20 {
            let size = batcher.capacity().records;
            batcher.observe(size, Duration::from_millis(10 * size), true);
        }
        assert_eq!((batcher.capacity().records, batcher.tier(Tier::Buffered)), (85, Tier::Buffered));
        for _ in 0..20 {
            let size = batcher.capacity().records;
            batcher.observe(size, Duration::from_millis(20 * size), true);
        }
        assert_eq!(batcher.tier(Tier::Buffered), Tier::Standard);
        assert_eq!(Batcher::new(SealRule::of_records(5, WAIT)).tier(Tier::Buffered), Tier::Buffered);
    }
}
