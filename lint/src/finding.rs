//! What a rule found: which rule, where, with which numbers, and how to mend it. No prose.

use std::cmp::Ordering;
use std::ops::Range;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::guide::UseCase;
use velo_schema::keys::Key;
use velo_schema::value::ValueError;
use velo_schema::{FailureStrategy, Scope, StrategyKind};

use crate::files::FileError;
use crate::options::Target;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Most probably not what was meant.
    Warning,
    /// It cannot work.
    Error,
}

/// A finding in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The text it is in: 0 for the one that was checked, `n` for the `n`th file that it names.
    pub file: usize,
    /// The bytes it is about; empty where something is missing.
    pub span: Range<usize>,
    /// What was found.
    pub detail: Detail,
    /// How to mend it, where there is one obvious way.
    pub fix: Option<Fix>,
    /// The ways to mend it where there are several and only the author knows which is meant.
    pub alternatives: Vec<Fix>,
}

impl Finding {
    /// The order that findings are reported in: by file, place and rule.
    #[must_use]
    pub fn in_order(&self, other: &Self) -> Ordering {
        let key = |finding: &Self| (finding.file, finding.span.start, finding.span.end, finding.rule);
        key(self).cmp(&key(other))
    }
}

/// A change that mends a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// Whether the change keeps the meaning for sure.
    pub safe: bool,
    /// What to replace.
    pub edits: Vec<Edit>,
}

/// A replacement of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to replace.
    pub span: Range<usize>,
    /// What with.
    pub text: String,
}

impl Fix {
    /// A single replacement.
    #[must_use]
    pub fn replace(safe: bool, span: Range<usize>, text: impl Into<String>) -> Self {
        Self { safe, edits: vec![Edit { span, text: text.into() }] }
    }
}

/// What was found, as data.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Detail {
    /// A key under our prefix that does not exist.
    UnknownKey {
        /// As written.
        key: String,
        /// The nearest key.
        nearest: Option<String>,
    },
    /// A key that only the job takes, in another scope.
    KeyInWrongScope {
        /// The key.
        key: Key,
        /// Where it stands.
        scope: Scope,
    },
    /// A key that is nearly one of ours.
    NearMiss {
        /// As written.
        key: String,
        /// The key it is near to.
        near: String,
    },
    /// A value that its key does not take.
    Value {
        /// The key.
        key: Key,
        /// The value as written.
        value: String,
        /// Why not.
        error: ValueError,
    },
    /// A value in another spelling than the canonical one.
    Spelling {
        /// As written.
        value: String,
        /// How it is spelled.
        canonical: &'static str,
    },
    /// A quote without its partner.
    UnterminatedString,
    /// No comma between two entries.
    MissingComma,
    /// No equals sign between key and value.
    MissingEquals,
    /// A comma before the closing bracket.
    TrailingComma,
    /// No closing bracket.
    UnclosedClause,
    /// A key or a value without quotes.
    Unquoted {
        /// Whether it is the key.
        is_key: bool,
    },
    /// A key of ours without a value.
    MissingValue {
        /// The key.
        key: Key,
    },
    /// A key that stands twice in one scope.
    DuplicateKey {
        /// As written.
        key: String,
        /// Where it stood first.
        first: Range<usize>,
    },
    /// `batch.min_size` above `batch.adaptive_max_size`.
    MinAboveMax {
        /// Records.
        min: u64,
        /// Whether that is the default.
        min_is_default: bool,
        /// Records.
        max: u64,
        /// Whether that is the default.
        max_is_default: bool,
    },
    /// A batch size above `batch.max_size`.
    SizeAboveCap {
        /// The key that sets the size.
        key: Key,
        /// Records.
        records: u64,
        /// Records.
        cap: u64,
        /// True if `batch.max_size` is not set.
        cap_is_default: bool,
    },
    /// A key that the strategy in force ignores.
    InertKey {
        /// The key, with its scope.
        key: String,
        /// The strategy.
        strategy: StrategyKind,
        /// The strategies that would use it.
        used_by: &'static [StrategyKind],
    },
    /// Batching is off and yet configured.
    BatchingDisabled {
        /// The keys that mean nothing, with their scopes.
        keys: Vec<String>,
    },
    /// Retry settings without retries.
    RetryKeyWithoutRetries {
        /// The key, with its scope.
        key: String,
    },
    /// A key that says how, without the one that says what.
    RequiredKeyMissing {
        /// The missing key.
        key: Key,
        /// The key that needs it, with its scope.
        needed_by: String,
    },
    /// A key of the default strategy, which is not named.
    DefaultStrategyMeant {
        /// The key, with its scope.
        needed_by: String,
    },
    /// No failure strategy is set: failing records are skipped.
    DefaultFailureStrategy,
    /// A clause that holds nothing.
    EmptyClause,
    /// From here on a file is no YAML.
    InvalidYaml {
        /// What the parser says.
        reason: String,
    },
    /// A file that a statement names and that cannot be had.
    LostFile {
        /// The path as written.
        path: String,
        /// Why.
        error: FileError,
    },
    /// A comment that silences a rule which finds nothing there.
    UnusedSuppression {
        /// The rule.
        rule: String,
    },
    /// A comment that silences a rule which does not exist.
    UnknownRule {
        /// As written.
        name: String,
        /// The rule it is near to.
        nearest: Option<&'static str>,
    },
    /// A dead letter queue that nothing is ever sent to.
    DlqWithoutLetters {
        /// The key, with its scope.
        key: String,
        /// The failure strategy in force.
        strategy: FailureStrategy,
    },
    /// `RetryWithBackoff` with no retries.
    ZeroRetries,
    /// A wait for more records that is longer than the latency that is aimed at.
    TimeoutAboveTarget {
        /// `batch.timeout`.
        timeout: Duration,
        /// `batch.target_latency`.
        target: Duration,
    },
    /// A batch that cannot hold one record.
    MemoryBelowRecord {
        /// `batch.memory_size`.
        bytes: u64,
        /// The mean record.
        record_bytes: u64,
    },
    /// Dead letters go where records are read from or results are written to.
    DlqTopicInUse {
        /// The topic.
        topic: String,
        /// Whether it is read, else written.
        is_source: bool,
    },
    /// One bad record fails a very large batch.
    BlastRadius {
        /// Records per batch.
        records: u64,
    },
    /// Retries that wait longer than the latency that the strategy is chosen for.
    BackoffAboveLatency {
        /// `retry_backoff`.
        backoff: Duration,
        /// What the guide expects of the strategy.
        latency: Duration,
    },
    /// Several workers on batches that share a transaction.
    ParallelTransaction {
        /// `transaction.batches`.
        batches: u64,
        /// Whether `batch.parallel` is not set.
        is_default: bool,
    },
    /// A key that says what holds anyway.
    RedundantKey {
        /// The key, with its scope.
        key: String,
        /// Where the value would come from.
        from: Scope,
    },
    /// A wait that eager processing never waits.
    EagerMootsWait,
    /// How long retries hold the lanes of a batch.
    RetryHoldTime {
        /// `max_retries`.
        retries: u64,
        /// The sum of the delays.
        total: Duration,
    },
    /// Large batches, and the memory that one needs.
    LargeBatch {
        /// Records per batch.
        records: u64,
        /// The record that is reckoned with.
        record_bytes: u64,
        /// Whether that is only assumed.
        is_assumed: bool,
    },
    /// A size that just selects the Buffered tier.
    JustOverTierBoundary {
        /// Records per batch.
        records: u64,
    },
    /// A size that the guide's figures give a longer latency than is aimed at.
    SizeAboveTarget {
        /// `batch.min_size`.
        records: u64,
        /// The least latency that the guide gives batches of that size.
        latency: Duration,
        /// `batch.target_latency`.
        target: Duration,
    },
    /// A number of records that looks like a producer's bytes.
    ProducerBytes {
        /// Records per batch.
        records: u64,
    },
    /// A setting that the target does not read.
    TargetIgnores {
        /// The target.
        target: Target,
        /// The key, with its scope, or the value that is not read.
        what: String,
        /// What holds instead.
        instead: &'static str,
    },
    /// A value that the target reads in another way.
    TargetReads {
        /// The target.
        target: Target,
        /// The value.
        value: String,
        /// How it is read.
        reading: String,
    },
    /// Retries that hold a consumer back longer than its group waits for it.
    TargetPollInterval {
        /// The target.
        target: Target,
        /// How long the consumer does not poll.
        total: Duration,
        /// How long its group waits.
        limit: Duration,
    },
    /// A size that no row of the decision matrix covers.
    OffTheMatrix {
        /// The strategy.
        strategy: StrategyKind,
        /// Records per batch.
        records: u64,
        /// The nearest row.
        nearest: UseCase,
    },
}
