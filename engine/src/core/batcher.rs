//! When a batch is full: rows, bytes and times in, the reason to seal it out.

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
    /// It held as many records as it may.
    Count,
    /// The next record would have made it larger than it may be.
    Bytes,
    /// Its first record had waited as long as it may.
    Time,
    /// Nothing more was queued and a worker was free.
    Eager,
    /// No more bytes may be in flight.
    Memory,
    /// No more records were to come: the end, a stop or a revoked partition.
    Drain,
}

impl std::fmt::Display for SealReason {
    /// As reports have it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// When a batch is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRule {
    /// Most records.
    pub max_records: u64,
    /// Most bytes, unless a single record is larger.
    pub max_bytes: Option<u64>,
    /// Longest wait of the first record.
    pub wait: Duration,
    /// Whether to seal as soon as nothing more is queued and a worker is free.
    pub eager: bool,
    /// What the size is steered towards, below `max_records`.
    pub adaptive: Option<Target>,
}

impl SealRule {
    /// So many records, and no other bound.
    #[must_use]
    pub fn of_records(max_records: u64, wait: Duration) -> Self {
        Self { max_records, max_bytes: None, wait, eager: false, adaptive: None }
    }

    /// The rule of a configuration.
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
                // A batch that waits longer than the target has missed it before it is processed.
                let wait = timeout.min(target_latency);
                Self { adaptive: Some(target), ..Self::of_records(max_records, wait) }
            }
            Strategy::LowLatency { max_records, wait, eager } => {
                Self { eager, ..Self::of_records(max_records.min(cap), wait) }
            }
        }
    }
}

/// What the open batch still takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Records.
    pub records: u64,
    /// Bytes of keys and values, where they are bounded.
    pub bytes: Option<u64>,
    /// Whether the batch is empty: then its first record fits, however large.
    pub is_empty: bool,
    /// How large a first record of a batch may be that is empty while others are in flight.
    pub first_bytes: Option<u64>,
}

impl Room {
    /// Room for so many records of any size.
    #[must_use]
    pub fn of_records(records: u64) -> Self {
        Self { records, bytes: None, is_empty: true, first_bytes: None }
    }

    /// Whether a record of `bytes` still fits behind `taken` others of `taken_bytes`.
    #[must_use]
    pub fn fits(self, taken: u64, taken_bytes: u64, bytes: u64) -> bool {
        let fits_alone = self.is_empty || self.first_bytes.is_some_and(|most| bytes <= most);
        let is_first = fits_alone && taken == 0;
        // A batch that is full takes nothing more, not even a record without bytes.
        let within = |room| taken_bytes < room && taken_bytes.saturating_add(bytes) <= room;
        let within = self.bytes.is_none_or(within);
        taken < self.records && (is_first || within)
    }
}

/// The open batch, as far as sealing it is concerned.
#[derive(Debug)]
pub struct Batcher {
    rule: SealRule,
    controller: Option<Controller>,
    records: u64,
    bytes: u64,
    /// The next record does not fit.
    exceeded: bool,
    first: Option<Tick>,
}

impl Batcher {
    /// A batcher with an empty batch.
    #[must_use]
    pub fn new(rule: SealRule) -> Self {
        let controller = rule.adaptive.map(Controller::new);
        Self { rule, controller, records: 0, bytes: 0, exceeded: false, first: None }
    }

    /// How many records a batch may hold now.
    #[must_use]
    pub fn size(&self) -> u64 {
        let steered = self.controller.as_ref().map(Controller::size);
        steered.unwrap_or(self.rule.max_records)
    }

    /// What the open batch still takes.
    #[must_use]
    pub fn room(&self) -> Room {
        let records = if self.exceeded { 0 } else { self.size().saturating_sub(self.records) };
        let bytes = self.rule.max_bytes.map(|most| most.saturating_sub(self.bytes));
        Room { records, bytes, is_empty: self.records == 0, first_bytes: None }
    }

    /// Adds records to the open batch, no more than there is room for, unless it is empty.
    pub fn add(&mut self, now: Tick, records: u64, bytes: u64) {
        debug_assert!(self.is_empty() || records <= self.room().records);
        self.records += records;
        self.bytes += bytes;
        if records > 0 {
            self.first.get_or_insert(now);
        }
    }

    /// The next record does not fit into the open batch.
    pub fn exceed(&mut self) {
        self.exceeded = self.records > 0;
    }

    /// Whether the open batch has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// When the open batch is sealed at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.first.map(|first| first + self.rule.wait)
    }

    /// Whether and why the open batch is to be sealed at `now`. `idle`: nothing more is queued and a
    /// worker is free, so that a batch which is sealed now is processed now.
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

    /// Begins the next batch.
    pub fn reset(&mut self) {
        self.records = 0;
        self.bytes = 0;
        self.exceeded = false;
        self.first = None;
    }

    /// A batch was processed; the next one's size may follow from that.
    pub fn observe(&mut self, records: u64, service: Duration, full: bool) {
        if let Some(controller) = &mut self.controller {
            controller.observe(records, service, full);
        }
    }

    /// The tier that suits the current size, coming from `tier`; sizes that are not steered keep theirs.
    ///
    /// Up above the Standard tier's largest size, down below four fifths of it, so that a size which
    /// wavers around the boundary does not change the tier with every batch.
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
        assert_eq!((batcher.room().records, batcher.deadline()), (2, None));
        batcher.add(ms(30), 1, 1);
        assert_eq!(batcher.deadline(), Some(ms(40)));
    }

    #[test]
    fn bytes_are_checked_before_a_record_is_added_and_a_large_one_stands_alone() {
        let rule = SealRule { max_bytes: Some(100), ..SealRule::of_records(1000, WAIT) };
        let mut batcher = Batcher::new(rule);
        assert!(batcher.room().fits(0, 0, 500), "the first record fits, however large");
        assert!(!batcher.room().fits(1, 60, 41) && batcher.room().fits(1, 60, 40));
        batcher.add(ms(0), 1, 60);
        assert_eq!(batcher.due(ms(0), true), None);
        assert!(!batcher.room().fits(0, 0, 41));
        batcher.exceed();
        assert_eq!((batcher.room().records, batcher.due(ms(0), true)), (0, Some(SealReason::Bytes)));
        batcher.reset();
        batcher.add(ms(0), 1, 500);
        assert_eq!(batcher.due(ms(0), true), Some(SealReason::Bytes));
    }

    #[test]
    fn a_batch_that_is_empty_is_not_exceeded() {
        let mut batcher = Batcher::new(SealRule { max_bytes: Some(1), ..SealRule::of_records(5, WAIT) });
        batcher.exceed();
        assert_eq!(batcher.room().records, 5);
    }

    #[test]
    fn the_tier_follows_the_steered_size_with_some_slack() {
        let target = Target { min_records: 10, max_records: 1000, latency: Duration::from_secs(1) };
        let mut batcher =
            Batcher::new(SealRule { adaptive: Some(target), ..SealRule::of_records(1000, WAIT) });
        assert_eq!(batcher.tier(Tier::Auto), Tier::Standard);
        // A millisecond a record: the size is steered to 850.
        for _ in 0..20 {
            let size = batcher.room().records;
            batcher.observe(size, Duration::from_millis(size), true);
        }
        assert_eq!(batcher.tier(Tier::Standard), Tier::Buffered);
        // Ten times slower: 85, which is not far enough below to go back; then 42, which is.
        for _ in 0..20 {
            let size = batcher.room().records;
            batcher.observe(size, Duration::from_millis(10 * size), true);
        }
        assert_eq!((batcher.room().records, batcher.tier(Tier::Buffered)), (85, Tier::Buffered));
        for _ in 0..20 {
            let size = batcher.room().records;
            batcher.observe(size, Duration::from_millis(20 * size), true);
        }
        assert_eq!(batcher.tier(Tier::Buffered), Tier::Standard);
        assert_eq!(Batcher::new(SealRule::of_records(5, WAIT)).tier(Tier::Buffered), Tier::Buffered);
    }
}
