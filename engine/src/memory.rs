//! Divides the memory of a job: a limit and the number of partitions in, the limit of each part out.
//!
//! ```text
//! limit     = exec + rest
//! exec      = 1/4 of the limit with an `--exec` program, else 0: its answers and output records
//! rest      = prefetch + in flight + producer + allocator
//! prefetch  = 3/16 of the rest: records that the client has fetched and the job has not taken
//! in flight = 3/16 of the rest: payload of records that are taken and not settled
//! producer  = 1/8 of the rest: records that are written and not acknowledged
//! allocator = 1/2 of the rest: requests and responses in transit, and fragmented free memory
//! ```
//!
//! The `--exec` part is divided as follows:
//!
//! - 9/16 are output records that are not settled, as many bytes as are in flight.
//! - 3/8 are answers. An answer is in memory up to three times while it is read (a buffer that has grown, and the
//!   decoded answer), so the limit of an answer is 1/8 divided by the number of programs.
//! - 1/16 are the pieces in which a batch is sent to a program. A whole batch is never encoded at once.
//!
//! The prefetch is divided by the number of partitions of the topic, because one member may get all of them. Fetching
//! for a partition stops when its queue has a quarter of its share. The rest of the share is for the last fetch, which
//! returns at least one produced batch, and more after decompression. In addition to its payload, each record costs
//! the client [`RECORD_COST_BYTES`] and the engine [`ROW_COST_BYTES`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The bytes that librdkafka needs for a record in addition to its payload: an operation, a message and the overhead
/// of the allocator.
pub const RECORD_COST_BYTES: u64 = 640;
/// The bytes that the engine needs for a row in addition to its payload: views, offset, times, tracking.
pub const ROW_COST_BYTES: u64 = 128;

const MIB: u64 = 1 << 20;

/// The memory limits of the parts of a job that keep records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryBudget {
    /// The memory limit of the process in bytes; `None` without a limit.
    pub limit_bytes: Option<u64>,
    /// The limit on prefetched bytes of all partitions.
    pub prefetch_bytes: u64,
    /// The limit on payload bytes of records that are taken and not settled.
    pub in_flight_bytes: u64,
    /// The limit on bytes that are written and not acknowledged.
    pub producer_bytes: u64,
    /// The share of one partition of the prefetch, in bytes; `queued.max.messages.kbytes` is a quarter of it.
    pub partition_bytes: u64,
    /// The limit on bytes of one partition in one fetch: `fetch.message.max.bytes`.
    pub partition_fetch_bytes: u64,
    /// The limit on bytes of one fetch: `fetch.max.bytes`.
    pub fetch_bytes: u64,
    /// The number of records of one partition that are prefetched: `queued.min.messages`.
    pub partition_records: u64,
    /// The limit on records that are taken and not settled; `None` if only their bytes are limited.
    pub in_flight_records: Option<u64>,
    /// The limit on bytes of answers and output records of all `--exec` programs.
    #[serde(default)]
    pub exec_bytes: u64,
    /// The limit on bytes of one answer of an `--exec` program; `None` without a memory limit.
    #[serde(default)]
    pub exec_answer_bytes: Option<u64>,
}

impl MemoryBudget {
    /// Returns the budget of a job without a memory limit.
    #[must_use]
    pub fn unlimited(partitions: usize) -> Self {
        const FETCH_BYTES: u64 = 64 * MIB;
        const RECORDS: u64 = 80_000;
        let prefetch_bytes = 128 * MIB;
        Self {
            limit_bytes: None,
            prefetch_bytes,
            in_flight_bytes: 64 * MIB,
            producer_bytes: 1024 * MIB,
            partition_bytes: share(prefetch_bytes, partitions).max(MIB),
            partition_fetch_bytes: share(FETCH_BYTES, partitions).clamp(64 << 10, MIB),
            fetch_bytes: 50 * MIB,
            partition_records: share(RECORDS, partitions).clamp(1_000, 40_000),
            in_flight_records: None,
            exec_bytes: 0,
            exec_answer_bytes: None,
        }
    }

    /// Returns the budget of one of `members` group members in this process. Each member may get all partitions.
    #[must_use]
    pub fn of(limit_bytes: u64, members: u64, partitions: usize) -> Self {
        Self::with_programs(limit_bytes, members, partitions, 0)
    }

    /// Like [`of`](Self::of), for members with this many `--exec` programs each.
    #[must_use]
    pub fn with_programs(limit_bytes: u64, members: u64, partitions: usize, programs: u64) -> Self {
        let limit = limit_bytes / members.max(1);
        let exec_bytes = if programs > 0 { limit / 4 } else { 0 };
        let limit = limit - exec_bytes;
        let prefetch_bytes = limit / 16 * 3;
        let in_flight_bytes = limit / 16 * 3;
        let partition_bytes = share(prefetch_bytes, partitions);
        let partition_fetch_bytes = (partition_bytes / 8).clamp(16 << 10, MIB);
        let all_fetches = partition_fetch_bytes.saturating_mul(partitions as u64);
        Self {
            limit_bytes: Some(limit_bytes),
            prefetch_bytes,
            in_flight_bytes,
            producer_bytes: limit / 8,
            partition_bytes,
            partition_fetch_bytes,
            // The client rejects less than 1 MB.
            fetch_bytes: all_fetches.min(prefetch_bytes / 8).max(MIB),
            partition_records: (partition_bytes / 4 / RECORD_COST_BYTES).max(1),
            in_flight_records: Some((in_flight_bytes / 2 / ROW_COST_BYTES).max(1)),
            exec_bytes,
            exec_answer_bytes: (programs > 0).then(|| (exec_bytes / 8 / programs.max(1)).max(1)),
        }
    }

    /// Returns the size of a partition's queue in KiB at which fetching stops.
    #[must_use]
    pub fn queue_kbytes(&self) -> u64 {
        (self.partition_bytes / 4 / 1024).max(1)
    }

    /// Returns the assumed size of a record in bytes before the first records arrive. With a memory limit the
    /// assumption is high, so that the first calls take few records.
    #[must_use]
    pub fn first_record_bytes(&self) -> u64 {
        if self.limit_bytes.is_some() { self.call_bytes() } else { 1024 }
    }

    /// Returns the number of bytes to take from a partition's queue with one call. Until these bytes are copied, they
    /// are in memory in addition to the records that are fetched to replace them.
    #[must_use]
    pub fn call_bytes(&self) -> u64 {
        (self.partition_bytes / 8).clamp(64 << 10, 2 * MIB)
    }
}

fn share(whole: u64, partitions: usize) -> u64 {
    whole / (partitions as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_within_the_limit_whatever_the_number_of_partitions() {
        for limit in [8 * MIB, 64 * MIB, 1 << 30] {
            for partitions in [1, 12, 1000] {
                let budget = MemoryBudget::of(limit, 1, partitions);
                let MemoryBudget { prefetch_bytes, in_flight_bytes, producer_bytes, .. } = budget;
                assert!(prefetch_bytes + in_flight_bytes + producer_bytes <= limit);
                assert!(budget.partition_bytes * partitions as u64 <= prefetch_bytes);
                let records = budget.partition_records * RECORD_COST_BYTES;
                assert!(records <= budget.partition_bytes.max(RECORD_COST_BYTES));
            }
        }
        let halves = MemoryBudget::of(64 * MIB, 2, 4);
        assert_eq!(halves.exec_bytes, 0);
        assert_eq!(halves.in_flight_bytes, MemoryBudget::of(32 * MIB, 1, 4).in_flight_bytes);
    }

    #[test]
    fn the_copies_of_a_program_are_within_the_limit_too() {
        for (limit, members, programs) in [(64 * MIB, 1, 1), (256 * MIB, 2, 4), (1 << 30, 1, 8)] {
            let budget = MemoryBudget::with_programs(limit, members, 12, programs);
            let MemoryBudget { prefetch_bytes, in_flight_bytes, producer_bytes, exec_bytes, .. } = budget;
            let allocator = (limit / members - exec_bytes) / 2;
            assert!(
                prefetch_bytes + in_flight_bytes + producer_bytes + allocator + exec_bytes <= limit / members
            );
            let answers = 3 * programs * budget.exec_answer_bytes.unwrap();
            // Output records have the same limit as records in flight.
            assert!(answers + in_flight_bytes + exec_bytes / 16 <= exec_bytes, "{budget:?}");
        }
    }
}
