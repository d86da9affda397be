//! What a rule found: which rule, where, with which numbers, and how to mend it. No prose.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::guide::UseCase;
use velo_schema::keys::Key;
use velo_schema::value::ValueError;
use velo_schema::{Scope, StrategyKind};

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
    /// The bytes it is about; empty where something is missing.
    pub span: Range<usize>,
    /// What was found.
    pub detail: Detail,
    /// How to mend it, where there is one obvious way.
    pub fix: Option<Fix>,
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
    /// No failure strategy is set: failing records are skipped.
    DefaultFailureStrategy,
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
