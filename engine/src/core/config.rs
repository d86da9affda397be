//! The configuration of the core.

use std::time::Duration;

use velo_schema::Tier;

use super::batcher::SealRule;
use super::failure::{self, ByStage};
use super::transaction::TransactionRule;

/// The configuration of the core.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// The limits at which a batch is sealed.
    pub seal: SealRule,
    /// The limits of a group of writes; `None` if records are written in the batches that were processed.
    pub regroup: Option<SealRule>,
    /// The limits of a transaction; `None` without transactions.
    pub transaction: Option<TransactionRule>,
    /// The initial tier.
    pub tier: Tier,
    /// The failure policy of each stage.
    pub failure: ByStage<failure::Policy>,
    /// The number of batches that are processed at the same time.
    pub workers: usize,
    /// The seed of the jitter of retry delays. Jobs with different seeds do not retry at the same time.
    pub seed: u64,
    /// The interval at which settled offsets are committed.
    pub commit_interval: Duration,
    /// The maximum time for a revoked lane to settle its records in flight.
    pub drain_timeout: Duration,
    /// The maximum time for which a batch is processed.
    pub max_batch_time: Duration,
    /// The limit on delivered records that are not settled. At the limit no more records are taken.
    pub max_unsettled_records: u64,
    /// The limit on the payload bytes of delivered records that are not settled.
    pub max_unsettled_bytes: u64,
}
