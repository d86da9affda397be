//! What a job is set up with: settings by part, and the engine's own.

use std::time::Duration;

use velo_schema::{Config, Plan, Strategy};

use crate::batch::BatchBuilder;
use crate::core::batcher::SealRule;
use crate::core::failure::{ByStage, Policy};
use crate::core::{CoreConfig, TransactionRule};
use crate::process::ValueFormat;

/// A job's settings for each of its parts, and the engine's own.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// The source's scope: the shape of the poll, and what follows a failure to decode.
    pub source: Config,
    /// The job's scope: what follows a failure to process.
    pub job: Config,
    /// The sink's scope: what is written together, and what follows a failure to write.
    pub sink: Config,
    /// How values are encoded.
    pub format: ValueFormat,
    /// How long a revoked partition, or a job that is stopped, may take to settle what is in flight.
    pub drain_timeout: Duration,
    /// Whether what is written and the offsets of what was read are committed in transactions, of so many
    /// batches as `transaction.batches` says. The source and the sink must be able to.
    pub exactly_once: bool,
    /// Most payload bytes in flight.
    pub max_unsettled_bytes: u64,
    /// Most records in flight, where the strategy would let more be.
    pub max_unsettled_records: u64,
    /// How long a batch may be processed before the job ends, so that others get its partitions.
    pub max_batch_time: Duration,
    /// Records that arrive earlier than this are left out of the latencies.
    pub warm_up: Duration,
    /// Threads that a batch is processed on at most, under `batch.parallel`.
    pub parallelism: usize,
}

impl JobConfig {
    /// One configuration for all parts.
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

    /// The plan of the source.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::of(&self.source, None)
    }

    /// On how many threads a batch is processed at most.
    #[must_use]
    pub fn threads_of_a_batch(&self) -> usize {
        match self.source.strategy {
            Strategy::MegaBatch { parallel: true, .. } if self.source.enabled => self.parallelism,
            _ => 1,
        }
    }

    /// What fills batches: in memory that is used again where `batch.reuse_buffer` says so.
    #[must_use]
    pub fn builder(&self) -> BatchBuilder {
        match self.source.strategy {
            Strategy::MegaBatch { reuse_buffer: true, .. } if self.source.enabled => {
                // As many as the records in flight can be in full batches, so that it is those that
                // are bounded: the open one, and one that is being written while it is settled.
                let core = self.core(1, 0);
                let full = core.max_unsettled_records.div_ceil(core.seal.max_records.max(1));
                BatchBuilder::with_ring(usize::try_from(full).unwrap_or(usize::MAX).saturating_add(2))
            }
            _ => BatchBuilder::default(),
        }
    }

    /// The machine's part: `workers` batches are processed at a time.
    #[must_use]
    pub fn core(&self, workers: usize, seed: u64) -> CoreConfig {
        let (seal, sink) = (SealRule::of(&self.source), SealRule::of(&self.sink));
        let max_batches = self.job.transaction_batches;
        let commit_interval = Duration::from_secs(1);
        let transaction = self.exactly_once.then_some(TransactionRule { max_batches, wait: commit_interval });
        let regroup = (seal != sink && !self.exactly_once).then_some(sink);
        // Twice the batch is taken ahead; small batches may have many on their way to the sink.
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
