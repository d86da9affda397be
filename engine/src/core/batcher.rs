//! When a batch is full: rows, bytes and times in, the reason to seal it out.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::{Config, Strategy, StrategyKind};

use super::Tick;

/// Why a batch was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SealReason {
    /// It held as many records as it may.
    Count,
    /// Its first record had waited as long as it may.
    Time,
    /// Nothing more was queued and a worker was free.
    Eager,
    /// No more bytes may be in flight.
    Memory,
    /// No more records were to come: the end, a stop or a revoked partition.
    Drain,
}

/// When a batch is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRule {
    /// Most records.
    pub max_records: u64,
    /// Longest wait of the first record.
    pub wait: Duration,
    /// Whether to seal as soon as nothing more is queued and a worker is free.
    pub eager: bool,
}

/// A strategy that this version of the engine does not execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine does not execute batch.strategy '{0}' yet; it executes fixed_size and low_latency")]
pub struct UnsupportedStrategy(pub StrategyKind);

impl SealRule {
    /// The rule of a configuration.
    ///
    /// # Errors
    /// Where its strategy is not executed.
    pub fn of(config: &Config) -> Result<Self, UnsupportedStrategy> {
        if !config.enabled {
            return Ok(Self { max_records: 1, wait: Duration::ZERO, eager: false });
        }
        let (records, wait, eager) = match config.strategy {
            Strategy::FixedSize { records, timeout } => (records, timeout, false),
            Strategy::LowLatency { max_records, wait, eager } => (max_records, wait, eager),
            ref other => return Err(UnsupportedStrategy(other.kind())),
        };
        Ok(Self { max_records: records.min(config.max_batch_records), wait, eager })
    }
}

/// The open batch, as far as sealing it is concerned.
#[derive(Debug)]
pub struct Batcher {
    rule: SealRule,
    records: u64,
    first: Option<Tick>,
}

impl Batcher {
    /// A batcher with an empty batch.
    #[must_use]
    pub fn new(rule: SealRule) -> Self {
        Self { rule, records: 0, first: None }
    }

    /// How many more records the open batch takes; at least one.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.rule.max_records - self.records
    }

    /// Adds records, no more than there is room for, to the open batch.
    pub fn add(&mut self, now: Tick, records: u64) {
        debug_assert!(records <= self.room());
        self.records += records;
        if records > 0 {
            self.first.get_or_insert(now);
        }
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
        if self.room() == 0 {
            Some(SealReason::Count)
        } else if now >= first + self.rule.wait {
            Some(SealReason::Time)
        } else {
            (self.rule.eager && idle).then_some(SealReason::Eager)
        }
    }

    /// Begins the next batch.
    pub fn reset(&mut self) {
        self.records = 0;
        self.first = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(10);

    fn batcher(max_records: u64, eager: bool) -> Batcher {
        Batcher::new(SealRule { max_records, wait: WAIT, eager })
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
        batcher.add(ms(5), 1);
        assert_eq!(batcher.due(ms(14), true), None);
        assert_eq!(batcher.due(ms(15), true), Some(SealReason::Time));
        batcher.add(ms(14), 1);
        assert_eq!(batcher.deadline(), Some(ms(15)));
        assert_eq!(batcher.due(ms(15), true), Some(SealReason::Count));
    }

    #[test]
    fn eager_seals_only_when_a_worker_would_take_the_batch() {
        let mut batcher = batcher(5, true);
        batcher.add(ms(0), 1);
        assert_eq!(batcher.due(ms(0), false), None);
        assert_eq!(batcher.due(ms(0), true), Some(SealReason::Eager));
    }

    #[test]
    fn the_next_batch_starts_its_own_timer() {
        let mut batcher = batcher(2, false);
        batcher.add(ms(0), 2);
        batcher.reset();
        assert_eq!((batcher.room(), batcher.deadline()), (2, None));
        batcher.add(ms(30), 1);
        assert_eq!(batcher.deadline(), Some(ms(40)));
    }
}
