//! Complete configuration of one scope: every value present, the strategy with its own parameters.

use std::time::Duration;

use crate::strategy::{FailureStrategy, OnExhausted, StrategyKind};

/// The settings that hold in one scope. Built by [`Settings::config`](crate::Settings::config).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whether records are grouped at all.
    pub enabled: bool,
    /// How they are grouped.
    pub strategy: Strategy,
    /// Hard cap on the records of a batch.
    pub max_batch_records: u64,
    /// What happens to records that fail.
    pub failure: Failure,
    /// Topic of the dead letter queue; `None` for the default, the source topic and `.dlq`.
    pub dlq_topic: Option<String>,
    /// Batches per transaction, with exactly-once.
    pub transaction_batches: u64,
}

/// A batch strategy with its parameters. Sizes are records, memory is bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// By count.
    FixedSize {
        /// Records per batch.
        records: u64,
        /// Longest wait for an incomplete batch.
        timeout: Duration,
    },
    /// By time.
    TimeWindow {
        /// From the first record to the end of the batch.
        window: Duration,
    },
    /// By bytes.
    MemoryBased {
        /// Bytes per batch.
        bytes: u64,
        /// Longest wait for an incomplete batch.
        timeout: Duration,
    },
    /// By measured processing time.
    AdaptiveSize {
        /// Smallest size.
        min_records: u64,
        /// Largest size.
        max_records: u64,
        /// Processing time per batch to steer towards.
        target_latency: Duration,
        /// Longest wait for an incomplete batch.
        timeout: Duration,
    },
    /// By lowest delay.
    LowLatency {
        /// Records per batch at most.
        max_records: u64,
        /// Longest wait for a batch to fill.
        wait: Duration,
        /// Process as soon as nothing more is queued.
        eager: bool,
    },
    /// By highest throughput.
    MegaBatch {
        /// Records per batch.
        records: u64,
        /// Process on several workers.
        parallel: bool,
        /// Use buffers again.
        reuse_buffer: bool,
        /// Longest wait for an incomplete batch.
        timeout: Duration,
    },
}

impl Strategy {
    /// The strategy without its parameters.
    #[must_use]
    pub fn kind(&self) -> StrategyKind {
        match self {
            Self::FixedSize { .. } => StrategyKind::FixedSize,
            Self::TimeWindow { .. } => StrategyKind::TimeWindow,
            Self::MemoryBased { .. } => StrategyKind::MemoryBased,
            Self::AdaptiveSize { .. } => StrategyKind::AdaptiveSize,
            Self::LowLatency { .. } => StrategyKind::LowLatency,
            Self::MegaBatch { .. } => StrategyKind::MegaBatch,
        }
    }

    /// The longest that a record can wait for its batch to be sealed.
    #[must_use]
    pub fn max_wait(&self) -> Duration {
        match *self {
            Self::FixedSize { timeout, .. }
            | Self::MemoryBased { timeout, .. }
            | Self::MegaBatch { timeout, .. } => timeout,
            Self::TimeWindow { window } => window,
            Self::AdaptiveSize { timeout, target_latency, .. } => timeout.min(target_latency),
            Self::LowLatency { wait, .. } => wait,
        }
    }
}

/// A failure strategy with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happens first.
    pub strategy: FailureStrategy,
    /// Attempts after the first; means something with `RetryWithBackoff` only.
    pub max_retries: u64,
    /// Delay before the first retry.
    pub backoff: Duration,
    /// Longest delay between two retries.
    pub backoff_max: Duration,
    /// What follows the last retry.
    pub on_exhausted: OnExhausted,
}

impl Failure {
    /// Whether failed records can end in a dead letter queue.
    #[must_use]
    pub fn uses_dlq(&self) -> bool {
        match self.strategy {
            FailureStrategy::SendToDLQ => true,
            FailureStrategy::RetryWithBackoff => self.on_exhausted == OnExhausted::SendToDLQ,
            FailureStrategy::LogAndContinue | FailureStrategy::FailBatch => false,
        }
    }

    /// The delay before the `retry`th retry, from 0: it doubles each time, up to the longest.
    #[must_use]
    pub fn delay(&self, retry: u64) -> Duration {
        let factor = u32::try_from(retry).ok().and_then(|retry| 2_u32.checked_pow(retry));
        let doubled = factor.and_then(|factor| self.backoff.checked_mul(factor));
        doubled.map_or(self.backoff_max, |delay| delay.min(self.backoff_max))
    }

    /// The sum of all delays: how long a batch that keeps failing holds what comes after it.
    #[must_use]
    pub fn total_backoff(&self) -> Duration {
        let mut total = Duration::ZERO;
        for retry in 0..self.max_retries {
            let delay = self.delay(retry);
            if delay == self.backoff_max || delay.is_zero() {
                // All further delays are the same.
                let rest = u32::try_from(self.max_retries - retry).unwrap_or(u32::MAX);
                return total.saturating_add(delay.saturating_mul(rest));
            }
            total = total.saturating_add(delay);
        }
        total
    }
}

impl Default for Config {
    /// What holds where nothing is set: the defaults of the table.
    fn default() -> Self {
        crate::Settings::resolve(&[], crate::Side::Job, None).config()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(max_retries: u64, backoff_ms: u64, backoff_max_ms: u64) -> Failure {
        Failure {
            max_retries,
            backoff: Duration::from_millis(backoff_ms),
            backoff_max: Duration::from_millis(backoff_max_ms),
            ..Config::default().failure
        }
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let retries = failure(5, 1000, 6000);
        let delays: Vec<_> = (0..5).map(|retry| retries.delay(retry).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 6, 6]);
        assert_eq!(retries.total_backoff(), Duration::from_secs(19));
        assert_eq!(retries.delay(100_000), Duration::from_secs(6));
        assert_eq!(failure(3, 10_000, 6000).total_backoff(), Duration::from_secs(18));
        assert_eq!(failure(0, 1000, 6000).total_backoff(), Duration::ZERO);
        assert_eq!(failure(u64::from(u32::MAX), 0, 6000).total_backoff(), Duration::ZERO);
    }
}
