//! A recommendation in the terms of other systems, with what each of them cannot say.

use velo_advisor::{Candidate, Recommendation};
use velo_schema::{StrategyKind, format_duration};

use crate::args::ExportArg;

/// The recommendation as a system's own configuration for records of this size, comments included.
pub(crate) fn export(target: ExportArg, recommendation: &Recommendation, record_bytes: f64) -> String {
    let batch = Batch::of(recommendation, record_bytes);
    match target {
        ExportArg::Guide => clause(&recommendation.candidate, ""),
        ExportArg::Velostream01 => velostream(&recommendation.candidate),
        ExportArg::Librdkafka => batch.librdkafka(),
        ExportArg::Java => batch.java(),
        ExportArg::Spring => batch.spring(),
        ExportArg::RedpandaConnect => batch.redpanda_connect(),
    }
}

/// A WITH clause, each key behind a prefix.
pub(crate) fn clause(candidate: &Candidate, prefix: &str) -> String {
    let settings = candidate.clause().into_iter();
    let lines: Vec<_> =
        settings.map(|setting| format!("    '{prefix}{}' = '{}'", setting.key, setting.value)).collect();
    format!("WITH (\n{}\n)\n", lines.join(",\n"))
}

fn velostream(candidate: &Candidate) -> String {
    let note = "-- velostream 0.1 reads batch keys behind 'sink.' only, for the whole job.\n";
    if candidate.strategy == StrategyKind::MegaBatch {
        return format!(
            "{note}-- It has no mega_batch: nothing there is the same. fixed_size takes its size.\n"
        );
    }
    format!("{note}{}", clause(candidate, "sink."))
}

/// Most bytes of a partition in an answer that clients ask for by default: waiting for more may be in vain.
const MOST_FETCHED: u64 = 1 << 20;

/// What a consumer without batch strategies can be told of one.
struct Batch {
    strategy: StrategyKind,
    records: u64,
    wait_ms: u128,
    wait: String,
    bytes: Option<u64>,
    /// What brokers wait for before they answer.
    fetch_min_bytes: u64,
}

impl Batch {
    fn of(recommendation: &Recommendation, record_bytes: f64) -> Self {
        let Recommendation { candidate, max_poll_records, .. } = recommendation;
        let config = candidate.config();
        let wait = config.strategy.max_wait();
        let bytes = match config.strategy {
            velo_schema::Strategy::MemoryBased { bytes, .. } => Some(bytes),
            _ => None,
        };
        let records = max_poll_records.max;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let full_bytes = bytes.unwrap_or((records as f64 * record_bytes) as u64);
        let fetch_min_bytes = match config.strategy {
            // It takes what is there.
            velo_schema::Strategy::LowLatency { .. } => 1,
            // As much as comes in the time.
            velo_schema::Strategy::TimeWindow { .. } => MOST_FETCHED,
            _ => full_bytes.clamp(1, MOST_FETCHED),
        };
        Self {
            strategy: candidate.strategy,
            records,
            wait_ms: wait.as_millis(),
            wait: format_duration(wait),
            bytes,
            fetch_min_bytes,
        }
    }

    /// How long brokers wait for that; a request must be answered before it times out.
    fn fetch_wait_ms(&self) -> u128 {
        self.wait_ms.clamp(1, 10_000)
    }

    /// What is lost, as comments.
    fn lost(&self, is_poll: bool) -> String {
        let mut lost = String::new();
        let mut say = |text: &str| lost += &format!("# not expressible: {text}\n");
        match self.strategy {
            StrategyKind::AdaptiveSize => {
                say("the size that follows the processing time; this is its upper end");
            }
            StrategyKind::TimeWindow if is_poll => {
                say("a batch that lasts for a time; what comes in it is bounded by records instead");
            }
            StrategyKind::MemoryBased if is_poll => say("a bound in bytes on what a poll returns"),
            StrategyKind::MegaBatch => say("processing on several threads, buffers that are used again"),
            _ => {}
        }
        if is_poll {
            say("a batch over several polls: one poll returns at most this many, and may return fewer");
        }
        if is_poll && self.fetch_min_bytes > 1 {
            say(
                "the wait of a batch: brokers wait for as many bytes, each for itself, counted as they are compressed",
            );
        }
        lost
    }

    fn librdkafka(&self) -> String {
        format!(
            "{}# size of rd_kafka_consume_batch_queue: {}, its timeout: {} ms\nfetch.min.bytes={}\nfetch.wait.max.ms={}\nqueued.min.messages={}\n",
            self.lost(true),
            self.records,
            self.wait_ms,
            self.fetch_min_bytes,
            self.fetch_wait_ms(),
            (2 * self.records).clamp(1, 10_000_000),
        )
    }

    fn java(&self) -> String {
        let bytes = self.bytes.map_or(String::new(), |bytes| format!("fetch.max.bytes={bytes}\n"));
        format!(
            "{}max.poll.records={}\nfetch.min.bytes={}\nfetch.max.wait.ms={}\n{bytes}",
            self.lost(true),
            self.records,
            self.fetch_min_bytes,
            self.fetch_wait_ms(),
        )
    }

    fn spring(&self) -> String {
        format!(
            "{}spring.kafka.listener.type=batch\nspring.kafka.consumer.max-poll-records={}\n\
             spring.kafka.consumer.fetch-min-size={}B\nspring.kafka.consumer.fetch-max-wait={}ms\n",
            self.lost(true),
            self.records,
            self.fetch_min_bytes,
            self.fetch_wait_ms(),
        )
    }

    fn redpanda_connect(&self) -> String {
        let count =
            if self.bytes.is_some() || self.strategy == StrategyKind::TimeWindow { 0 } else { self.records };
        format!(
            "{}batching:\n  count: {count}\n  byte_size: {}\n  period: {}\n",
            self.lost(false),
            self.bytes.unwrap_or(0),
            self.wait,
        )
    }
}
