//! The configuration of a job: settings of its source, processing and sink, and settings of the engine.

use std::time::Duration;

use velo_schema::{Config, Plan, Strategy};

use crate::batch::BatchBuilder;
use crate::core::batcher::SealRule;
use crate::core::failure::{ByStage, Policy};
use crate::core::{CoreConfig, TransactionRule};
use crate::process::ValueFormat;

/// The settings of the source, the job and the sink, and those of the engine.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// The settings of the source: its batch strategy and the failure strategy for decoding.
    pub source: Config,
    /// The settings of the job: the failure strategy for processing.
    pub job: Config,
    /// The settings of the sink: its batch strategy and the failure strategy for writing.
    pub sink: Config,
    /// The encoding of values.
    pub format: ValueFormat,
    /// The time in which a revoked partition or a stopped job must settle the records in flight.
    pub drain_timeout: Duration,
    /// True if outputs and source offsets are committed in transactions of up to `transaction.batches` batches. The
    /// source and the sink must support transactions.
    pub exactly_once: bool,
    /// The maximum number of payload bytes in flight.
    pub max_unsettled_bytes: u64,
    /// The maximum number of records in flight, if it is lower than that of the batch strategy.
    pub max_unsettled_records: u64,
    /// The maximum processing time of a batch. After that the job fails, so that other members get its partitions.
    pub max_batch_time: Duration,
    /// Records that arrive within this time after the start are left out of the latencies.
    pub warm_up: Duration,
    /// The maximum number of threads that process a batch if `batch.parallel` is set.
    pub parallelism: usize,
}

impl JobConfig {
    /// Creates a configuration with the same settings for the source, the job and the sink.
    #[must_use]
    pub fn uniform(config: Config) -> Self {
        Self {
            source: config.clone(),
            job: config.clone(),
            sink: config,
            format: ValueFormat::Bytes,
            drain_timeout: Duration::from_secs(30),
            exactly_once: false,
            max_unsettled_bytes: 64 << 20,
            max_unsettled_records: u64::MAX,
            max_batch_time: Duration::from_mins(5),
            warm_up: Duration::ZERO,
            parallelism: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Returns the plan of the source.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::of(&self.source, None)
    }

    /// Returns the maximum number of threads that process a batch.
    #[must_use]
    pub fn threads_of_a_batch(&self) -> usize {
        match self.source.strategy {
            Strategy::MegaBatch { parallel: true, .. } if self.source.enabled => self.parallelism,
            _ => 1,
        }
    }

    /// Creates the builder of batches. With `batch.reuse_buffer` its memory is a ring of batches.
    #[must_use]
    pub fn builder(&self) -> BatchBuilder {
        match self.source.strategy {
            Strategy::MegaBatch { reuse_buffer: true, .. } if self.source.enabled => {
                // Enough full batches for the limit on records in flight, plus the open batch and a batch that is
                // settled while it is still being written. So records are limited, not batches.
                let core = self.core(1, 0);
                let full = core.max_unsettled_records.div_ceil(core.seal.max_records.max(1));
                BatchBuilder::with_ring(usize::try_from(full).unwrap_or(usize::MAX).saturating_add(2))
            }
            _ => BatchBuilder::default(),
        }
    }

    /// Returns the configuration of the core for a number of workers.
    #[must_use]
    pub fn core(&self, workers: usize, seed: u64) -> CoreConfig {
        let (seal, sink) = (SealRule::of(&self.source), SealRule::of(&self.sink));
        let max_batches = self.job.transaction_batches;
        let commit_interval = Duration::from_secs(1);
        let transaction = self.exactly_once.then_some(TransactionRule { max_batches, wait: commit_interval });
        let regroup = (seal != sink && !self.exactly_once).then_some(sink);
        // Two batches are taken ahead of the batch that is processed. With small batches, many can be in flight to the
        // sink.
        let ahead = seal.max_records.saturating_mul(max_batches.saturating_add(3)).max(10_000);
        let grouped = regroup.as_ref().map_or(0, |rule| 2 * rule.max_records);
        CoreConfig {
            tier: self.plan().tier,
            failure: ByStage {
                decode: Policy::of(&self.source.failure),
                process: Policy::of(&self.job.failure),
                write: Policy::of(&self.sink.failure),
            },
            workers,
            seed,
            commit_interval,
            transaction,
            drain_timeout: self.drain_timeout,
            max_unsettled_records: (ahead + grouped).min(self.max_unsettled_records),
            max_batch_time: self.max_batch_time,
            max_unsettled_bytes: self.max_unsettled_bytes,
            seal,
            regroup,
        }
    }
}

impl From<Config> for JobConfig {
    fn from(config: Config) -> Self {
        Self::uniform(config)
    }
}
