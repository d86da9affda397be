//! The guide's tables as data: the decision matrix, the expected performance, when to choose what.
//!
//! The figures are the guide's, never ours; whoever prints them says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::strategy::StrategyKind;
use crate::tier::{Span, Tier};

/// A use case of the decision matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UseCase {
    /// Fraud, alerting.
    RealTimeAlerts,
    /// Figures that people watch.
    LiveDashboards,
    /// Transforming a stream.
    StreamingEtl,
    /// Loading and backfills.
    BulkIngestion,
    /// Queries over varying loads.
    Analytics,
    /// Large records or little memory.
    MemoryConstrained,
}

impl UseCase {
    /// The name as it stands in machine-readable output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RealTimeAlerts => "real_time_alerts",
            Self::LiveDashboards => "live_dashboards",
            Self::StreamingEtl => "streaming_etl",
            Self::BulkIngestion => "bulk_ingestion",
            Self::Analytics => "analytics",
            Self::MemoryConstrained => "memory_constrained",
        }
    }
}

/// A row of the decision matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixRow {
    /// What for.
    pub use_case: UseCase,
    /// The strategy it recommends.
    pub strategy: StrategyKind,
    /// Batch sizes in records; `None` where the size follows from memory.
    pub records: Option<Span>,
    /// The tier it expects.
    pub tier: Tier,
    /// Records per second it expects.
    pub records_per_s: Span,
}

/// A row of the performance summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImpactRow {
    /// The strategy.
    pub strategy: StrategyKind,
    /// Batch sizes in records; `None` where the size changes or follows from memory.
    pub records: Option<Span>,
    /// Records per second it expects.
    pub records_per_s: Span,
    /// Milliseconds it expects.
    pub latency_ms: Span,
}

const fn span(min: u64, max: u64) -> Span {
    Span { min, max }
}

/// The decision matrix.
pub const MATRIX: &[MatrixRow] = &[
    MatrixRow {
        use_case: UseCase::RealTimeAlerts,
        strategy: StrategyKind::LowLatency,
        records: Some(span(1, 10)),
        tier: Tier::Standard,
        records_per_s: span(5_000, 10_000),
    },
    MatrixRow {
        use_case: UseCase::LiveDashboards,
        strategy: StrategyKind::FixedSize,
        records: Some(span(50, 100)),
        tier: Tier::Standard,
        records_per_s: span(10_000, 15_000),
    },
    MatrixRow {
        use_case: UseCase::StreamingEtl,
        strategy: StrategyKind::FixedSize,
        records: Some(span(500, 1000)),
        tier: Tier::Buffered,
        records_per_s: span(50_000, 75_000),
    },
    MatrixRow {
        use_case: UseCase::BulkIngestion,
        strategy: StrategyKind::MegaBatch,
        records: Some(span(10_000, 100_000)),
        tier: Tier::Buffered,
        records_per_s: span(100_000, 150_000),
    },
    MatrixRow {
        use_case: UseCase::Analytics,
        strategy: StrategyKind::AdaptiveSize,
        records: Some(span(50, 2000)),
        tier: Tier::Auto,
        records_per_s: span(10_000, 75_000),
    },
    MatrixRow {
        use_case: UseCase::MemoryConstrained,
        strategy: StrategyKind::MemoryBased,
        records: None,
        tier: Tier::Buffered,
        records_per_s: span(30_000, 60_000),
    },
];

/// The performance summary.
pub const IMPACT: &[ImpactRow] = &[
    ImpactRow {
        strategy: StrategyKind::LowLatency,
        records: Some(span(1, 10)),
        records_per_s: span(5_000, 10_000),
        latency_ms: span(0, 10),
    },
    ImpactRow {
        strategy: StrategyKind::FixedSize,
        records: Some(span(50, 100)),
        records_per_s: span(10_000, 15_000),
        latency_ms: span(50, 100),
    },
    ImpactRow {
        strategy: StrategyKind::FixedSize,
        records: Some(span(500, 1000)),
        records_per_s: span(50_000, 75_000),
        latency_ms: span(200, 500),
    },
    ImpactRow {
        strategy: StrategyKind::MegaBatch,
        records: Some(span(50_000, 100_000)),
        records_per_s: span(100_000, 150_000),
        latency_ms: span(2_000, 5_000),
    },
    ImpactRow {
        strategy: StrategyKind::AdaptiveSize,
        records: None,
        records_per_s: span(10_000, 75_000),
        latency_ms: span(50, 500),
    },
    ImpactRow {
        strategy: StrategyKind::MemoryBased,
        records: None,
        records_per_s: span(30_000, 60_000),
        latency_ms: span(200, 800),
    },
];

/// What is known of a workload, as far as the guide's conditions ask for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Mean arrivals per second.
    pub records_per_s: Option<f64>,
    /// Arrivals in the busiest second.
    pub peak_records_per_s: Option<f64>,
    /// Variance of the arrivals per second divided by their mean.
    pub dispersion: Option<f64>,
    /// Mean record size in bytes.
    pub mean_record_bytes: Option<f64>,
    /// Standard deviation of the record size divided by its mean.
    pub record_bytes_variation: Option<f64>,
    /// The latency that is asked for, in milliseconds.
    pub latency_ms: Option<f64>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// It holds.
    Met,
    /// It does not.
    NotMet,
    /// The measurement it needs is not there.
    Unknown,
}

/// One of the guide's conditions for a strategy, checked against a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// The strategy it speaks for.
    pub strategy: StrategyKind,
    /// The condition in words.
    pub text: String,
    /// Whether it holds.
    pub met: Met,
    /// The number that decided, in the unit that `text` names.
    pub measured: Option<f64>,
}

/// A strategy, its condition in words, what was measured, and whether that meets it.
type Row = (StrategyKind, &'static str, Option<f64>, fn(f64) -> bool);

/// The guide's conditions, each with the number that decides it and its bound.
///
/// "Memory is the first concern" and "latency in seconds is fine" are wishes, not measurements:
/// the second is read off the asked-for latency, the first is left to the constraints.
///
/// # Panics
/// Never: the list is not empty.
#[must_use]
pub fn choose_when(workload: &Workload) -> Vec<Condition> {
    let spikes = workload.peak_records_per_s.zip(workload.records_per_s).map(|(p, m)| p / m.max(1e-9));
    let rows: [Row; 9] = [
        (StrategyKind::LowLatency, "rate below 10000 records/s", workload.records_per_s, |v| v < 10_000.0),
        (StrategyKind::LowLatency, "latency below 1000 ms asked for", workload.latency_ms, |v| v < 1_000.0),
        (StrategyKind::MegaBatch, "rate above 100000 records/s", workload.records_per_s, |v| v > 100_000.0),
        (StrategyKind::MegaBatch, "latency of 1000 ms or more is fine", workload.latency_ms, |v| {
            v >= 1_000.0
        }),
        (StrategyKind::MemoryBased, "mean record above 10240 bytes", workload.mean_record_bytes, |v| {
            v > 10_240.0
        }),
        (
            StrategyKind::MemoryBased,
            "record sizes vary: coefficient of variation above 1",
            workload.record_bytes_variation,
            |v| v > 1.0,
        ),
        (StrategyKind::AdaptiveSize, "spikes: peak above 3 times the mean", spikes, |v| v > 3.0),
        (StrategyKind::AdaptiveSize, "bursts: index of dispersion above 2", workload.dispersion, |v| v > 2.0),
        (StrategyKind::FixedSize, "predictable: none of the above holds", None, |_| false),
    ];
    let mut conditions: Vec<_> = rows
        .into_iter()
        .map(|(strategy, text, measured, holds)| Condition {
            strategy,
            text: text.to_owned(),
            met: measured.map_or(Met::Unknown, |value| if holds(value) { Met::Met } else { Met::NotMet }),
            measured,
        })
        .collect();
    let (fixed, others) = conditions.split_last_mut().expect("the list above is not empty");
    let disturbing =
        |c: &&Condition| matches!(c.strategy, StrategyKind::AdaptiveSize | StrategyKind::MemoryBased);
    fixed.met = if others.iter().filter(disturbing).any(|c| c.met == Met::Met) {
        Met::NotMet
    } else if others.iter().filter(disturbing).any(|c| c.met == Met::Unknown) {
        Met::Unknown
    } else {
        Met::Met
    };
    conditions
}
