//! The guide's own Rust API: [`BatchConfig`] and [`BatchStrategy`], and their way to [`Config`].
//!
//! ```
//! use velo_schema::{BatchConfig, BatchStrategy};
//! use std::time::Duration;
//!
//! // High-throughput configuration (50K batch size)
//! let config = BatchConfig::high_throughput();
//!
//! // Ultra-throughput configuration (100K batch size)
//! let config = BatchConfig::ultra_throughput();
//!
//! // Custom MegaBatch configuration
//! let config = BatchConfig {
//!     strategy: BatchStrategy::MegaBatch {
//!         batch_size: 75_000,
//!         parallel: true,
//!         reuse_buffer: true,
//!     },
//!     max_batch_size: 100_000,
//!     batch_timeout: Duration::from_millis(100),
//!     enable_batching: true,
//! };
//! # let typed: velo_schema::Config = config.clone().try_into().unwrap();
//! # assert_eq!(BatchConfig::from(&typed), config);
//! ```

use std::time::Duration;

use crate::config::{Config, Strategy};
use crate::keys::Key;
use crate::settings::{Entry, Scope, Settings, Side};
use crate::strategy::StrategyKind;
use crate::value::{Value, ValueError, parse};

/// Batch settings as a Rust program writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchConfig {
    /// How records are grouped.
    pub strategy: BatchStrategy,
    /// Hard cap on the records of a batch.
    pub max_batch_size: usize,
    /// Longest wait for an incomplete batch.
    pub batch_timeout: Duration,
    /// Whether records are grouped at all.
    pub enable_batching: bool,
}

/// A batch strategy as a Rust program writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchStrategy {
    /// Records per batch.
    FixedSize(usize),
    /// From a batch's first record to its end.
    TimeWindow(Duration),
    /// Bytes per batch.
    MemoryBased(usize),
    /// A size that follows the measured processing time.
    AdaptiveSize {
        /// Fewest records per batch.
        min_size: usize,
        /// Most records per batch.
        max_size: usize,
        /// Processing time per batch to steer towards.
        target_latency: Duration,
    },
    /// Tiny batches.
    LowLatency {
        /// Most records per batch.
        max_batch_size: usize,
        /// Longest wait for a batch to fill.
        max_wait_time: Duration,
        /// Process as soon as nothing more is queued.
        eager_processing: bool,
    },
    /// Very large batches.
    MegaBatch {
        /// Records per batch.
        batch_size: usize,
        /// Process on several workers.
        parallel: bool,
        /// Use buffers again.
        reuse_buffer: bool,
    },
}

/// A value of a [`BatchConfig`] that its key does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {error}")]
pub struct ConfigError {
    /// The key whose bounds it breaks.
    pub key: Key,
    /// How.
    pub error: ValueError,
}

impl Default for BatchConfig {
    /// Fixed batches of the table's default size.
    fn default() -> Self {
        Self::from(&Config::default())
    }
}

impl BatchConfig {
    /// Batches of 50,000 records that wait 100 ms at most.
    #[must_use]
    pub fn high_throughput() -> Self {
        Self::mega_batch(50_000, Duration::from_millis(100))
    }

    /// Batches of 100,000 records that wait 50 ms at most.
    #[must_use]
    pub fn ultra_throughput() -> Self {
        Self::mega_batch(100_000, Duration::from_millis(50))
    }

    fn mega_batch(batch_size: usize, batch_timeout: Duration) -> Self {
        Self {
            strategy: BatchStrategy::MegaBatch { batch_size, parallel: true, reuse_buffer: true },
            max_batch_size: 100_000,
            batch_timeout,
            enable_batching: true,
        }
    }

    /// The same settings as entries of the job's scope.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let mut values = vec![
            (Key::BatchEnable, Value::Boolean(self.enable_batching)),
            (Key::BatchMaxSize, integer(self.max_batch_size)),
            (Key::BatchTimeout, Value::Duration(self.batch_timeout)),
        ];
        let (kind, own) = self.strategy.values();
        values.push((Key::BatchStrategy, Value::Strategy(kind)));
        values.extend(own);
        values.into_iter().map(|(key, value)| Entry { scope: Scope::Job, key, value }).collect()
    }
}

impl BatchStrategy {
    fn values(&self) -> (StrategyKind, Vec<(Key, Value)>) {
        match *self {
            Self::FixedSize(size) => (StrategyKind::FixedSize, vec![(Key::BatchSize, integer(size))]),
            Self::TimeWindow(window) => {
                (StrategyKind::TimeWindow, vec![(Key::BatchWindow, Value::Duration(window))])
            }
            Self::MemoryBased(bytes) => {
                (StrategyKind::MemoryBased, vec![(Key::BatchMemorySize, integer(bytes))])
            }
            Self::AdaptiveSize { min_size, max_size, target_latency } => (
                StrategyKind::AdaptiveSize,
                vec![
                    (Key::BatchMinSize, integer(min_size)),
                    (Key::BatchAdaptiveMaxSize, integer(max_size)),
                    (Key::BatchTargetLatency, Value::Duration(target_latency)),
                ],
            ),
            Self::LowLatency { max_batch_size, max_wait_time, eager_processing } => (
                StrategyKind::LowLatency,
                vec![
                    (Key::BatchLowLatencyMaxSize, integer(max_batch_size)),
                    (Key::BatchLowLatencyWait, Value::Duration(max_wait_time)),
                    (Key::BatchEagerProcessing, Value::Boolean(eager_processing)),
                ],
            ),
            Self::MegaBatch { batch_size, parallel, reuse_buffer } => (
                StrategyKind::MegaBatch,
                vec![
                    (Key::BatchMegaBatchSize, integer(batch_size)),
                    (Key::BatchParallel, Value::Boolean(parallel)),
                    (Key::BatchReuseBuffer, Value::Boolean(reuse_buffer)),
                ],
            ),
        }
    }
}

fn integer(value: usize) -> Value {
    Value::Integer(value as u64)
}

/// Saturating: no setting of a 64-bit platform is beyond it.
fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

impl TryFrom<BatchConfig> for Config {
    type Error = ConfigError;

    /// Every value goes through its key's own bounds, as if it stood in a clause.
    fn try_from(config: BatchConfig) -> Result<Self, ConfigError> {
        let entries = config.entries();
        for entry in &entries {
            let text = entry.value.to_string();
            parse(entry.key.def().kind, &text).map_err(|error| ConfigError { key: entry.key, error })?;
        }
        Ok(Settings::resolve(&entries, Side::Job, None).config())
    }
}

impl From<&Config> for BatchConfig {
    /// What the guide's API can say: the failure settings, the dead letter queue and the
    /// transaction have no place in it and are left out.
    fn from(config: &Config) -> Self {
        let (strategy, timeout) = match config.strategy {
            Strategy::FixedSize { records, timeout } => (BatchStrategy::FixedSize(size(records)), timeout),
            Strategy::TimeWindow { window } => (BatchStrategy::TimeWindow(window), window),
            Strategy::MemoryBased { bytes, timeout } => (BatchStrategy::MemoryBased(size(bytes)), timeout),
            Strategy::AdaptiveSize { min_records, max_records, target_latency, timeout } => (
                BatchStrategy::AdaptiveSize {
                    min_size: size(min_records),
                    max_size: size(max_records),
                    target_latency,
                },
                timeout,
            ),
            Strategy::LowLatency { max_records, wait, eager } => (
                BatchStrategy::LowLatency {
                    max_batch_size: size(max_records),
                    max_wait_time: wait,
                    eager_processing: eager,
                },
                wait,
            ),
            Strategy::MegaBatch { records, parallel, reuse_buffer, timeout } => {
                let batch_size = size(records);
                (BatchStrategy::MegaBatch { batch_size, parallel, reuse_buffer }, timeout)
            }
        };
        Self {
            strategy,
            max_batch_size: size(config.max_batch_records),
            batch_timeout: timeout,
            enable_batching: config.enabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_hundred_records() {
        assert_eq!(BatchConfig::default().strategy, BatchStrategy::FixedSize(100));
    }

    #[test]
    fn the_presets_are_the_guides() {
        let high = Config::try_from(BatchConfig::high_throughput()).unwrap();
        assert_eq!(high.strategy.max_wait(), Duration::from_millis(100));
        assert_eq!(high.max_batch_records, 100_000);
        let ultra = BatchConfig::ultra_throughput();
        assert_eq!(ultra.batch_timeout, Duration::from_millis(50));
        assert!(matches!(ultra.strategy, BatchStrategy::MegaBatch { batch_size: 100_000, .. }));
    }

    #[test]
    fn a_value_out_of_its_keys_bounds_is_refused_by_name() {
        let config = BatchConfig { strategy: BatchStrategy::FixedSize(0), ..BatchConfig::default() };
        assert_eq!(Config::try_from(config).unwrap_err().key, Key::BatchSize);
    }

    #[test]
    fn every_strategy_survives_the_way_there_and_back() {
        let wait = Duration::from_millis(7);
        for strategy in [
            BatchStrategy::FixedSize(9),
            BatchStrategy::TimeWindow(wait),
            BatchStrategy::MemoryBased(4096),
            BatchStrategy::AdaptiveSize { min_size: 5, max_size: 50, target_latency: wait },
            BatchStrategy::LowLatency { max_batch_size: 3, max_wait_time: wait, eager_processing: false },
            BatchStrategy::MegaBatch { batch_size: 20_000, parallel: false, reuse_buffer: false },
        ] {
            let config = BatchConfig { strategy, batch_timeout: wait, ..BatchConfig::default() };
            let typed = Config::try_from(config.clone()).unwrap();
            assert_eq!(BatchConfig::from(&typed), config);
        }
    }
}
