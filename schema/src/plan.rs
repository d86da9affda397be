//! What a configuration means for a consumer: poll size, tier, the guide's expectations.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Strategy};
use crate::guide::{IMPACT, MATRIX, MatrixRow, UseCase};
use crate::strategy::StrategyKind;
use crate::tier::{Span, Tier};

/// The row of the decision matrix that is nearest to a plan outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NearestRow {
    /// The row.
    pub row: UseCase,
    /// How far: the factor between the batch size and the row's nearest size; 1 inside of it.
    pub size_factor: f64,
}

/// What a configuration means.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The strategy; `None` where batching is disabled.
    pub strategy: Option<StrategyKind>,
    /// Records per batch.
    pub batch_records: Span,
    /// Records per poll.
    pub max_poll_records: Span,
    /// How records are taken from the consumer.
    pub tier: Tier,
    /// Records per second that the guide expects.
    pub guide_records_per_s: Option<Span>,
    /// Milliseconds that the guide expects.
    pub guide_latency_ms: Option<Span>,
    /// The longest that a record can wait for its batch to be sealed.
    pub max_wait: Duration,
    /// The decision matrix's row that this is.
    pub matrix_row: Option<UseCase>,
    /// The nearest row where it is none.
    pub nearest_row: Option<NearestRow>,
}

impl Plan {
    /// The plan of a configuration; `record_bytes` is the mean record where it is known.
    #[must_use]
    pub fn of(config: &Config, record_bytes: Option<u64>) -> Self {
        if !config.enabled {
            return Self::disabled();
        }
        let kind = config.strategy.kind();
        let records = batch_records(config, record_bytes);
        let poll = match config.strategy {
            // A window takes whatever comes, so each poll may be as large as a batch may get.
            Strategy::TimeWindow { .. } => Span { min: records.max, max: records.max },
            _ => records,
        };
        let tier = tier(&config.strategy, records, record_bytes);
        let row = matrix_row(kind, records);
        let impact = IMPACT.iter().find(|impact| {
            impact.strategy == kind && impact.records.is_none_or(|span| span.contains(records))
        });
        Self {
            strategy: Some(kind),
            batch_records: records,
            max_poll_records: poll,
            tier,
            guide_records_per_s: row.map(|row| row.records_per_s).or(impact.map(|i| i.records_per_s)),
            guide_latency_ms: impact.map(|impact| impact.latency_ms),
            max_wait: config.strategy.max_wait(),
            matrix_row: row.map(|row| row.use_case),
            nearest_row: if row.is_some() { None } else { nearest_row(Some(kind), poll, tier) },
        }
    }

    fn disabled() -> Self {
        let one = Span { min: 1, max: 1 };
        Self {
            strategy: None,
            batch_records: one,
            max_poll_records: one,
            tier: Tier::Standard,
            guide_records_per_s: None,
            guide_latency_ms: None,
            max_wait: Duration::ZERO,
            matrix_row: None,
            nearest_row: nearest_row(None, one, Tier::Standard),
        }
    }
}

fn batch_records(config: &Config, record_bytes: Option<u64>) -> Span {
    let cap = config.max_batch_records;
    let (min, max) = match config.strategy {
        Strategy::FixedSize { records, .. } | Strategy::MegaBatch { records, .. } => (records, records),
        Strategy::LowLatency { max_records, .. } => (max_records, max_records),
        Strategy::AdaptiveSize { min_records, max_records, .. } => (min_records, max_records),
        Strategy::TimeWindow { .. } => (1, cap),
        Strategy::MemoryBased { bytes, .. } => match record_bytes {
            Some(size) => ((bytes / size.max(1)).max(1), (bytes / size.max(1)).max(1)),
            None => (1, cap),
        },
    };
    Span { min: min.min(cap), max: max.min(cap) }
}

fn tier(strategy: &Strategy, records: Span, record_bytes: Option<u64>) -> Tier {
    match strategy {
        Strategy::AdaptiveSize { .. } => Tier::Auto,
        Strategy::MemoryBased { .. } if record_bytes.is_none() => Tier::Buffered,
        _ => Tier::of_records(records.max),
    }
}

fn matrix_row(kind: StrategyKind, records: Span) -> Option<&'static MatrixRow> {
    MATRIX.iter().find(|row| row.strategy == kind && row.records.is_none_or(|span| span.contains(records)))
}

/// The nearest row in log-size among those of the strategy, else among those of the tier.
fn nearest_row(kind: Option<StrategyKind>, records: Span, tier: Tier) -> Option<NearestRow> {
    let nearest = |matches: &dyn Fn(&MatrixRow) -> bool| {
        MATRIX
            .iter()
            .filter(|row| matches(row))
            .filter_map(|row| {
                let size_factor = row.records.map(|span| size_factor(span, records))?;
                Some(NearestRow { row: row.use_case, size_factor })
            })
            .min_by(|a, b| a.size_factor.total_cmp(&b.size_factor))
    };
    nearest(&|row| Some(row.strategy) == kind).or_else(|| nearest(&|row| row.tier == tier))
}

/// How many times larger or smaller than the row's nearest size; 1 inside of the row.
fn size_factor(row: Span, records: Span) -> f64 {
    let below = row.min as f64 / records.min as f64;
    let above = records.max as f64 / row.max as f64;
    below.max(above).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Scope, Settings, Side, keys::Key};

    fn plan(entries: &[(Key, &str)], record_bytes: Option<u64>) -> Plan {
        let entries: Vec<_> =
            entries.iter().map(|(key, text)| Entry::parse(Scope::Job, *key, text).unwrap()).collect();
        Plan::of(&Settings::resolve(&entries, Side::Source, None).config(), record_bytes)
    }

    #[test]
    fn the_tier_changes_between_100_and_101_records() {
        assert_eq!(plan(&[(Key::BatchSize, "100")], None).tier, Tier::Standard);
        assert_eq!(plan(&[(Key::BatchSize, "101")], None).tier, Tier::Buffered);
    }

    #[test]
    fn a_size_outside_the_matrix_is_not_snapped_to_a_row() {
        let plan = plan(&[(Key::BatchSize, "200")], None);
        assert_eq!(plan.matrix_row, None);
        let nearest = plan.nearest_row.unwrap();
        assert_eq!(nearest.row, UseCase::LiveDashboards);
        assert!((nearest.size_factor - 2.0).abs() < 1e-9);
        assert_eq!(plan.guide_records_per_s, None);
    }

    #[test]
    fn memory_based_follows_the_record_size_and_says_when_few_fit() {
        let keys = [(Key::BatchStrategy, "memory_based"), (Key::BatchMemorySize, "10485760")];
        assert_eq!(plan(&keys, None).tier, Tier::Buffered);
        let large = plan(&keys, Some(1 << 20));
        assert_eq!((large.batch_records.max, large.tier), (10, Tier::Standard));
        assert_eq!(plan(&keys, Some(1 << 30)).batch_records.max, 1);
        assert_eq!(large.matrix_row, Some(UseCase::MemoryConstrained));
    }

    #[test]
    fn disabled_batching_is_one_record_a_poll() {
        let plan = plan(&[(Key::BatchEnable, "false"), (Key::BatchSize, "500")], None);
        assert_eq!((plan.strategy, plan.max_poll_records.max, plan.tier), (None, 1, Tier::Standard));
    }

    #[test]
    fn the_cap_bounds_every_strategy() {
        let keys = [(Key::BatchStrategy, "time_window"), (Key::BatchMaxSize, "50")];
        let plan = plan(&keys, None);
        assert_eq!((plan.max_poll_records.max, plan.tier), (50, Tier::Standard));
    }

    #[test]
    fn the_longest_wait_is_the_strategys_own_timer() {
        let wait = |keys: &[(Key, &str)]| plan(keys, None).max_wait;
        assert_eq!(wait(&[]), Duration::from_secs(1));
        assert_eq!(wait(&[(Key::BatchStrategy, "low_latency")]), Duration::from_millis(1));
        assert_eq!(wait(&[(Key::BatchStrategy, "adaptive_size")]), Duration::from_millis(100));
    }
}
