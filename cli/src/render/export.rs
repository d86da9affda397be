//! A recommendation as configuration of another system, with comments on what that system cannot express.

use velo_advisor::{Candidate, Recommendation};
use velo_schema::{StrategyKind, format_duration};

use crate::args::ExportArg;

/// Returns the recommendation as configuration of a system, for records of this mean size.
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

/// Returns a WITH clause, with a prefix before each key.
pub(crate) fn clause(candidate: &Candidate, prefix: &str) -> String {
    let settings = candidate.clause().into_iter();
    let lines: Vec<_> =
        settings.map(|setting| format!("    '{prefix}{}' = '{}'", setting.key, setting.value)).collect();
    format!("WITH (\n{}\n)\n", lines.join(",\n"))
}

fn velostream(candidate: &Candidate) -> String {
    let note =
        "-- velostream 0.1 reads batch keys only with the prefix 'sink.'; they apply to the whole job.\n";
    if candidate.strategy == StrategyKind::MegaBatch {
        return format!(
            "{note}-- It has no equivalent of mega_batch; use fixed_size with the same batch size.\n"
        );
    }
    format!("{note}{}", clause(candidate, "sink."))
}

/// The most bytes of one partition that clients fetch by default. A larger minimum may never be reached.
const MOST_FETCHED: u64 = 1 << 20;

/// The settings for a consumer without batch strategies that come closest to a recommendation.
struct Batch {
    strategy: StrategyKind,
    records: u64,
    wait_ms: u128,
    wait: String,
    bytes: Option<u64>,
    /// The bytes that brokers wait for before they answer a fetch.
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
            // Brokers answer as soon as there is a record.
            velo_schema::Strategy::LowLatency { .. } => 1,
            // Only the time limits a batch.
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

    /// The time that brokers wait for `fetch_min_bytes`, at most 10 s so that requests do not time out.
    fn fetch_wait_ms(&self) -> u128 {
        self.wait_ms.clamp(1, 10_000)
    }

    /// Returns comments on the properties of the recommendation that are lost.
    fn lost(&self, is_poll: bool) -> String {
        let mut lost = String::new();
        let mut say = |text: &str| lost += &format!("# not expressible: {text}\n");
        match self.strategy {
            StrategyKind::AdaptiveSize => {
                say("a batch size that adapts to the processing time; this is the maximum");
            }
            StrategyKind::TimeWindow if is_poll => {
                say("a batch that lasts for a time; the number of records is limited instead");
            }
            StrategyKind::MemoryBased if is_poll => say("a limit in bytes for a poll"),
            StrategyKind::MegaBatch => say("processing on several threads, reused buffers"),
            _ => {}
        }
        if is_poll {
            say("a batch of several polls: one poll returns at most this many records, and may return fewer");
        }
        if is_poll && self.fetch_min_bytes > 1 {
            say("the wait of a batch: each broker waits on its own for this many compressed bytes");
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
