//! A recommendation in the terms of other systems, with what each of them cannot say.

use velo_advisor::{Candidate, Recommendation};
use velo_schema::{StrategyKind, format_duration};

use crate::args::ExportArg;

/// The recommendation as a system's own configuration, comments included.
pub(crate) fn export(target: ExportArg, recommendation: &Recommendation) -> String {
    let batch = Batch::of(recommendation);
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

/// What a consumer without batch strategies can be told of one.
struct Batch {
    strategy: StrategyKind,
    records: u64,
    wait_ms: u128,
    wait: String,
    bytes: Option<u64>,
}

impl Batch {
    fn of(recommendation: &Recommendation) -> Self {
        let Recommendation { candidate, max_poll_records, .. } = recommendation;
        let config = candidate.config();
        let wait = config.strategy.max_wait();
        let bytes = match config.strategy {
            velo_schema::Strategy::MemoryBased { bytes, .. } => Some(bytes),
            _ => None,
        };
        Self {
            strategy: candidate.strategy,
            records: max_poll_records.max,
            wait_ms: wait.as_millis(),
            wait: format_duration(wait),
            bytes,
        }
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
        lost
    }

    fn librdkafka(&self) -> String {
        format!(
            "{}# size of rd_kafka_consume_batch_queue: {}, its timeout: {} ms\nfetch.wait.max.ms={}\nqueued.min.messages={}\n",
            self.lost(true),
            self.records,
            self.wait_ms,
            self.wait_ms.clamp(1, 500),
            (2 * self.records).clamp(1, 10_000_000),
        )
    }

    fn java(&self) -> String {
        let bytes = self.bytes.map_or(String::new(), |bytes| format!("fetch.max.bytes={bytes}\n"));
        format!(
            "{}max.poll.records={}\nfetch.max.wait.ms={}\n{bytes}",
            self.lost(true),
            self.records,
            self.wait_ms.clamp(1, 500),
        )
    }

    fn spring(&self) -> String {
        format!(
            "{}spring.kafka.listener.type=batch\nspring.kafka.consumer.max-poll-records={}\n\
             spring.kafka.consumer.fetch-max-wait={}ms\n",
            self.lost(true),
            self.records,
            self.wait_ms.clamp(1, 500),
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
