//! How the machine is set up.

use std::time::Duration;

use velo_schema::Tier;

use super::batcher::SealRule;
use super::failure::{self, ByStage};
use super::transaction::TransactionRule;

/// How the machine is set up.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// When a batch is full.
    pub seal: SealRule,
    /// When what is written together is full, where that is not as it was processed.
    pub regroup: Option<SealRule>,
    /// What is written and committed in one transaction, where there are any.
    pub transaction: Option<TransactionRule>,
    /// The tier to begin with.
    pub tier: Tier,
    /// What follows a failure, by stage.
    pub failure: ByStage<failure::Policy>,
    /// How many batches are processed at a time.
    pub workers: usize,
    /// What jobs differ in that would otherwise retry at the same moment.
    pub seed: u64,
    /// How often settled offsets are committed.
    pub commit_interval: Duration,
    /// How long a revoked lane may take to settle what is in flight.
    pub drain_timeout: Duration,
    /// How long a batch may be processed.
    pub max_batch_time: Duration,
    /// Most records that are delivered and not settled, before more are taken.
    pub max_unsettled_records: u64,
    /// Most bytes of the same.
    pub max_unsettled_bytes: u64,
}
