//! The one table of keys: what each is, its bounds, default, scopes, and when it means something.

use std::time::Duration;

use crate::strategy::StrategyKind;
use crate::value::{Kind, Parsed, SHORTEST, Value, ValueError, parse};

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// The batch configuration guide names it.
    Guide,
    /// The guide needs it and does not name it; this toolkit adds it.
    Extension,
}

impl KeyOrigin {
    /// `guide` or `extension`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Guide => "guide",
            Self::Extension => "extension",
        }
    }
}

/// Which scopes a key may stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scopes {
    /// The job, either side, or a source or sink by name.
    Every,
    /// The job only.
    JobOnly,
}

/// When a key must be there although every key has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredWhen {
    /// A key is set that means something only under another strategy than the default.
    StrategyKeySet,
    /// A key is set that means something only with retries.
    RetryKeySet,
}

impl RequiredWhen {
    /// The condition in words.
    #[must_use]
    pub fn doc(self) -> &'static str {
        match self {
            Self::StrategyKeySet => "a key of a strategy other than the default is set",
            Self::RetryKeySet => "max_retries, retry_backoff, retry_backoff_max or on_exhausted is set",
        }
    }
}

/// When a key means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relevance {
    /// Always.
    Always,
    /// Under one of these batch strategies.
    Strategies(&'static [StrategyKind]),
    /// Under the failure strategy `RetryWithBackoff`.
    Retries,
    /// Where failed records can go to a dead letter queue.
    DeadLetters,
}

/// Everything that is known of one key.
#[derive(Debug, Clone, Copy)]
pub struct KeyDef {
    /// The key itself.
    pub key: Key,
    /// Its name without any scope prefix.
    pub name: &'static str,
    /// Type, bounds and unit.
    pub kind: Kind,
    /// The default, spelled as a value; `None` where the default is computed (see `doc`).
    pub default: Option<&'static str>,
    /// Where it may stand.
    pub scopes: Scopes,
    /// When it means something.
    pub relevance: Relevance,
    /// When it must be there.
    pub required_when: Option<RequiredWhen>,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
    /// A typical value.
    pub example: &'static str,
    /// Where it comes from.
    pub origin: KeyOrigin,
    /// The values that an advisor tries, spelled as in a clause; where there are none, it keeps the default.
    pub search: &'static [&'static str],
}

impl KeyDef {
    /// Reads a value of this key.
    ///
    /// # Errors
    /// What [`parse`] says of the text.
    pub fn parse(&self, text: &str) -> Result<Parsed, ValueError> {
        parse(self.kind, text)
    }

    /// The default as a value.
    ///
    /// # Panics
    /// Where the table holds a default that does not parse; a test reads them all.
    #[must_use]
    pub fn default_value(&self) -> Option<Value> {
        self.default.map(|text| self.parse(text).expect("defaults in KEYS parse").value)
    }

    /// Whether the key means something under `strategy`.
    #[must_use]
    pub fn applies_to(&self, strategy: StrategyKind) -> bool {
        match self.relevance {
            Relevance::Strategies(strategies) => strategies.contains(&strategy),
            Relevance::Always | Relevance::Retries | Relevance::DeadLetters => true,
        }
    }
}

/// Declares the keys as an enum and their names; the table itself follows below.
macro_rules! keys {
    ($($variant:ident = $name:literal;)+) => {
        /// A key, without its scope.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Key { $(#[doc = concat!("`", $name, "`")] $variant,)+ }

        impl Key {
            /// Every key, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name without any scope prefix.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

keys! {
    BatchEnable = "batch.enable";
    BatchStrategy = "batch.strategy";
    BatchSize = "batch.size";
    BatchTimeout = "batch.timeout";
    BatchWindow = "batch.window";
    BatchMemorySize = "batch.memory_size";
    BatchMinSize = "batch.min_size";
    BatchAdaptiveMaxSize = "batch.adaptive_max_size";
    BatchTargetLatency = "batch.target_latency";
    BatchLowLatencyMaxSize = "batch.low_latency_max_size";
    BatchLowLatencyWait = "batch.low_latency_wait";
    BatchEagerProcessing = "batch.eager_processing";
    BatchMegaBatchSize = "batch.mega_batch_size";
    BatchParallel = "batch.parallel";
    BatchReuseBuffer = "batch.reuse_buffer";
    BatchMaxSize = "batch.max_size";
    FailureStrategy = "failure_strategy";
    MaxRetries = "max_retries";
    RetryBackoff = "retry_backoff";
    RetryBackoffMax = "retry_backoff_max";
    OnExhausted = "on_exhausted";
    DlqTopic = "dlq.topic";
    TransactionBatches = "transaction.batches";
}

impl Key {
    /// The key of this name (no scope prefix).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.name() == name)
    }

    /// Its row of the table.
    #[must_use]
    pub fn def(self) -> &'static KeyDef {
        &KEYS[self as usize]
    }
}

impl serde::Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl StrategyKind {
    /// The key that sets this strategy's number of records, where it has one.
    #[must_use]
    pub fn size_key(self) -> Option<Key> {
        match self {
            FixedSize => Some(Key::BatchSize),
            AdaptiveSize => Some(Key::BatchAdaptiveMaxSize),
            LowLatency => Some(Key::BatchLowLatencyMaxSize),
            MegaBatch => Some(Key::BatchMegaBatchSize),
            TimeWindow | MemoryBased => None,
        }
    }
}

/// More records than any batch should hold; keeps sizes in range of 32-bit settings.
const MAX_RECORDS: u64 = i32::MAX as u64;

const fn records(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max, unit: "records" }
}

/// A wait or a back-off: zero is allowed.
const WAIT: Kind = Kind::Duration { min: Duration::ZERO };
/// A window or a target: it must be longer than nothing.
const SPAN: Kind = Kind::Duration { min: SHORTEST };

use StrategyKind::{AdaptiveSize, FixedSize, LowLatency, MegaBatch, MemoryBased, TimeWindow};

const TIMED: &[StrategyKind] = &[FixedSize, MemoryBased, MegaBatch, AdaptiveSize];
const CAPPED: &[StrategyKind] = &[FixedSize, TimeWindow, MemoryBased, AdaptiveSize, LowLatency, MegaBatch];

/// A row's usual values, so that each row below says only what is its own.
const fn row(key: Key, kind: Kind, default: &'static str, doc: &'static str) -> KeyDef {
    KeyDef {
        key,
        name: key.name(),
        kind,
        default: Some(default),
        scopes: Scopes::Every,
        relevance: Relevance::Always,
        required_when: None,
        doc,
        example: default,
        origin: KeyOrigin::Guide,
        search: &[],
    }
}

/// Every key, in the order of [`Key::ALL`].
pub const KEYS: &[KeyDef] = &[
    row(
        Key::BatchEnable,
        Kind::Boolean,
        "true",
        "Group records into batches. With false every record is processed alone and all other batch keys are ignored.",
    ),
    KeyDef {
        required_when: Some(RequiredWhen::StrategyKeySet),
        example: "low_latency",
        ..row(
            Key::BatchStrategy,
            Kind::Strategy,
            "fixed_size",
            "How records are grouped: by count, time, bytes, measured processing time, lowest delay, or highest throughput.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[FixedSize]),
        example: "500",
        search: &["10", "20", "50", "100", "200", "500", "1000", "2000", "5000"],
        ..row(
            Key::BatchSize,
            records(1, MAX_RECORDS),
            "100",
            "Records per batch. It also is the poll size, and above 100 it selects the Buffered consumer tier.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(TIMED),
        example: "500ms",
        search: &["10ms", "50ms", "200ms", "1s"],
        ..row(
            Key::BatchTimeout,
            WAIT,
            "1000ms",
            "Longest wait, from a batch's first record, before an incomplete batch is processed.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[TimeWindow]),
        example: "5s",
        search: &["5ms", "10ms", "50ms", "100ms", "200ms", "500ms", "1s", "5s"],
        ..row(
            Key::BatchWindow,
            SPAN,
            "1s",
            "Time from a batch's first record to its end, however many records came in.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[MemoryBased]),
        example: "10485760",
        search: &["65536", "262144", "1048576", "4194304", "10485760"],
        ..row(
            Key::BatchMemorySize,
            Kind::Integer { min: 1, max: i64::MAX as u64, unit: "bytes" },
            "1048576",
            "Bytes per batch, a bare number. A record larger than this is a batch of its own.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[AdaptiveSize]),
        example: "50",
        ..row(
            Key::BatchMinSize,
            records(1, MAX_RECORDS),
            "10",
            "Smallest batch size that the controller may choose; at most batch.adaptive_max_size, which lint checks.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[AdaptiveSize]),
        example: "2000",
        search: &["1000", "10000"],
        ..row(
            Key::BatchAdaptiveMaxSize,
            records(1, MAX_RECORDS),
            "1000",
            "Largest batch size that the controller may choose; at least batch.min_size, which lint checks.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[AdaptiveSize]),
        search: &["10ms", "50ms", "200ms", "1s"],
        ..row(
            Key::BatchTargetLatency,
            SPAN,
            "100ms",
            "Processing time per batch that the controller steers the batch size towards.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[LowLatency]),
        example: "5",
        search: &["1", "2", "5", "10", "20", "50"],
        ..row(
            Key::BatchLowLatencyMaxSize,
            records(1, MAX_RECORDS),
            "1",
            "Records per batch at most; also the poll size.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[LowLatency]),
        example: "10ms",
        ..row(
            Key::BatchLowLatencyWait,
            WAIT,
            "1ms",
            "Longest wait, from a batch's first record, for it to fill up.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[LowLatency]),
        ..row(
            Key::BatchEagerProcessing,
            Kind::Boolean,
            "true",
            "Process as soon as nothing more is queued locally, instead of waiting for the batch to fill.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[MegaBatch]),
        search: &["10000", "50000", "100000"],
        ..row(
            Key::BatchMegaBatchSize,
            records(10_000, 100_000),
            "50000",
            "Records per batch; also the poll size.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[MegaBatch]),
        ..row(
            Key::BatchParallel,
            Kind::Boolean,
            "true",
            "Process a batch on several workers, keeping the order of each key. A job that only forwards its records uses one \
             worker, because that is faster.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(&[MegaBatch]),
        ..row(
            Key::BatchReuseBuffer,
            Kind::Boolean,
            "true",
            "Keep batches in a ring of buffers that are used again, instead of allocating for each batch.",
        )
    },
    KeyDef {
        relevance: Relevance::Strategies(CAPPED),
        origin: KeyOrigin::Extension,
        ..row(
            Key::BatchMaxSize,
            records(1, MAX_RECORDS),
            "100000",
            "Hard cap on the records of a batch, under every strategy.",
        )
    },
    KeyDef {
        required_when: Some(RequiredWhen::RetryKeySet),
        example: "SendToDLQ",
        ..row(
            Key::FailureStrategy,
            Kind::FailureStrategy,
            "LogAndContinue",
            "What happens to records that fail. The default leaves them out after logging them.",
        )
    },
    KeyDef {
        relevance: Relevance::Retries,
        example: "5",
        ..row(
            Key::MaxRetries,
            Kind::Integer { min: 0, max: MAX_RECORDS, unit: "retries" },
            "3",
            "Attempts after the first one.",
        )
    },
    KeyDef {
        relevance: Relevance::Retries,
        example: "2000ms",
        ..row(
            Key::RetryBackoff,
            WAIT,
            "1000ms",
            "Delay before the first retry; it doubles with each further one.",
        )
    },
    KeyDef {
        relevance: Relevance::Retries,
        origin: KeyOrigin::Extension,
        ..row(Key::RetryBackoffMax, WAIT, "60s", "Longest delay between two retries.")
    },
    KeyDef {
        relevance: Relevance::Retries,
        origin: KeyOrigin::Extension,
        example: "SendToDLQ",
        ..row(
            Key::OnExhausted,
            Kind::OnExhausted,
            "FailBatch",
            "What follows when the last retry has failed.",
        )
    },
    KeyDef {
        default: None,
        relevance: Relevance::DeadLetters,
        origin: KeyOrigin::Extension,
        example: "orders.dlq",
        ..row(
            Key::DlqTopic,
            Kind::Topic,
            "",
            "Topic of the dead letter queue; by default the source topic's name with .dlq behind it.",
        )
    },
    KeyDef {
        scopes: Scopes::JobOnly,
        origin: KeyOrigin::Extension,
        ..row(
            Key::TransactionBatches,
            Kind::Integer { min: 1, max: MAX_RECORDS, unit: "batches" },
            "1",
            "Batches per Kafka transaction, with exactly-once. Above 1 it excludes batch.parallel.",
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        assert_eq!(KEYS.len(), Key::ALL.len());
        for (def, key) in KEYS.iter().zip(Key::ALL) {
            assert_eq!(def.key, *key);
            assert_eq!(Key::from_name(def.name), Some(*key));
        }
    }

    #[test]
    fn every_default_and_example_parses_and_prints_back() {
        for def in KEYS {
            for text in def.default.into_iter().chain([def.example]) {
                let parsed = def.parse(text).unwrap_or_else(|e| panic!("{}: {text}: {e}", def.name));
                assert_eq!(parsed.canonical, None, "{}: {text}", def.name);
                let printed = parsed.value.to_string();
                assert_eq!(def.parse(&printed).unwrap().value, parsed.value, "{}", def.name);
            }
        }
    }

    #[test]
    fn every_row_is_documented_in_one_line_that_ends() {
        let docs: HashSet<_> = KEYS.iter().map(|def| def.doc).collect();
        assert_eq!(docs.len(), KEYS.len(), "two keys share a doc");
        assert!(KEYS.iter().all(|def| def.doc.ends_with('.') && !def.doc.contains('\n')));
    }

    #[test]
    fn every_searched_value_is_one_of_its_key_in_its_own_spelling() {
        for def in KEYS {
            for text in def.search {
                assert_eq!(def.parse(text).unwrap().value.to_string(), *text, "{}", def.name);
            }
        }
    }

    #[test]
    fn no_two_keys_are_a_typo_apart() {
        for a in KEYS {
            for b in KEYS.iter().filter(|b| b.key != a.key) {
                assert!(strsim::osa_distance(a.name, b.name) > 1, "{} and {}", a.name, b.name);
            }
        }
    }
}
