//! How the memory of a job is divided: a limit and the number of partitions in, bounds of each part out.
//!
//! ```text
//! limit     = exec + rest
//! exec      = 1/4 of the limit with a program of `--exec`, else 0: its answers, and what it puts out
//! rest      = prefetch + in flight + producer + allocator
//! prefetch  = 3/16 of the rest: what the client has fetched and nobody has taken
//! in flight = 3/16: payload of records that are taken and not settled
//! producer  = 1/8: what is written and not acknowledged
//! allocator = 1/2: requests and answers on their way, and memory that is free in pieces
//! ```
//!
//! Of the part of `--exec`, 9/16 are records that it put out and that are not settled, as much as is in flight;
//! 3/8 are answers: each program's answer is in memory three times while it is read (a buffer that has
//! grown, and what was decoded from it), so an answer has an eighth, divided by the programs; and 1/16 are the
//! pieces in which a batch is handed to a program. A whole batch is never encoded at once.
//!
//! The prefetch is divided by all partitions of the topic, since one member may get all of them. A quarter of
//! a partition's share is what its queue holds before nothing more is fetched; the rest is for what a fetch
//! brings beyond that: at least one batch as it was produced, which is larger when it is compressed. Each
//! record costs the client [`RECORD_COST_BYTES`] beside its payload, and the engine [`ROW_COST_BYTES`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes that librdkafka needs for a record beside its payload: an operation, its message and what the
/// allocator adds.
pub const RECORD_COST_BYTES: u64 = 640;
/// Bytes that the engine needs for a row beside its payload: views, offset, times, tracking.
pub const ROW_COST_BYTES: u64 = 128;

const MIB: u64 = 1 << 20;

/// The bounds of the parts of a job that keep records in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryBudget {
    /// All of them together; `None` where nobody set a limit.
    pub limit_bytes: Option<u64>,
    /// What the client fetches ahead, over all partitions.
    pub prefetch_bytes: u64,
    /// Payload of records that are taken and not settled.
    pub in_flight_bytes: u64,
    /// What is written and not acknowledged.
    pub producer_bytes: u64,
    /// A partition's share of the prefetch: `queued.max.messages.kbytes` is a quarter of it.
    pub partition_bytes: u64,
    /// Bytes of one partition in one fetch: `fetch.message.max.bytes`.
    pub partition_fetch_bytes: u64,
    /// Bytes of one fetch: `fetch.max.bytes`.
    pub fetch_bytes: u64,
    /// Records of one partition that are fetched ahead: `queued.min.messages`.
    pub partition_records: u64,
    /// Most records that are taken and not settled; `None` if only their bytes are bounded.
    pub in_flight_records: Option<u64>,
    /// Answers of a program of `--exec` and the records that it puts out, over all programs.
    #[serde(default)]
    pub exec_bytes: u64,
    /// Bytes of one answer of such a program at most; `None` if the limit does not say.
    #[serde(default)]
    pub exec_answer_bytes: Option<u64>,
}

impl MemoryBudget {
    /// What is used where nobody set a limit.
    #[must_use]
    pub fn unlimited(partitions: usize) -> Self {
        let prefetch_bytes = 512 * MIB;
        let partition_bytes = share(prefetch_bytes, partitions).max(4 * MIB);
        Self {
            limit_bytes: None,
            prefetch_bytes,
            in_flight_bytes: 64 * MIB,
            producer_bytes: 1024 * MIB,
            partition_bytes,
            partition_fetch_bytes: MIB,
            fetch_bytes: 50 * MIB,
            partition_records: 1_000_000,
            in_flight_records: None,
            exec_bytes: 0,
            exec_answer_bytes: None,
        }
    }

    /// A limit for one of `members` in this process, each of which may get all partitions.
    #[must_use]
    pub fn of(limit_bytes: u64, members: u64, partitions: usize) -> Self {
        Self::with_programs(limit_bytes, members, partitions, 0)
    }

    /// The same, if each member has so many programs of `--exec`.
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
            // The client refuses less than a megabyte.
            fetch_bytes: all_fetches.min(prefetch_bytes / 8).max(MIB),
            partition_records: (partition_bytes / 4 / RECORD_COST_BYTES).max(1),
            in_flight_records: Some((in_flight_bytes / 2 / ROW_COST_BYTES).max(1)),
            exec_bytes,
            exec_answer_bytes: (programs > 0).then(|| (exec_bytes / 8 / programs.max(1)).max(1)),
        }
    }

    /// Kilobytes of a partition's queue before nothing more is fetched.
    #[must_use]
    pub fn queue_kbytes(&self) -> u64 {
        (self.partition_bytes / 4 / 1024).max(1)
    }

    /// How large a record is taken to be before anything is known: where memory is bounded, the first calls
    /// are cautious.
    #[must_use]
    pub fn first_record_bytes(&self) -> u64 {
        if self.limit_bytes.is_some() { self.call_bytes() } else { 1024 }
    }

    /// Bytes to take from a partition's queue with one call: until they are copied, they are in memory beside
    /// what is fetched in their stead.
    #[must_use]
    pub fn call_bytes(&self) -> u64 {
        (self.partition_bytes / 8).clamp(64 << 10, 2 * MIB)
    }
}

fn share(bytes: u64, partitions: usize) -> u64 {
    bytes / (partitions as u64).max(1)
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
            // The records that it puts out are as large as those that are in flight.
            assert!(answers + in_flight_bytes + exec_bytes / 16 <= exec_bytes, "{budget:?}");
        }
    }
}
