//! Names of other systems that stand beside ours, shared by lint and the JSON Schema.
//!
//! Many systems use words such as `batch` or `max_retries`. A key or a document is checked only if it
//! is ours; these lists name what is known to belong to others.

use crate::keys::Key;

/// Keys that mark a clause, a document or a side as another system's.
pub const FOREIGN_CLAUSE: &[&str] =
    &["connector", "connector.class", "connector.type", "kafka_topic", "provider", "type", "value_format"];

/// Keys at the root of a document that only other systems have.
pub const FOREIGN_ROOT: &[&str] = &["apiVersion", "kind", "spring", "bootstrap.servers", "broker_url"];

/// Keys of other systems that are near to ours, and that may stand beside ours. One that differs from ours in separators
/// alone (`batch_size`) is none: beside a key of ours it is most probably a slip.
pub const FOREIGN_KEYS: &[&str] = &[
    "batch.interval",
    "fetch-size",
    "fetch.size",
    "max.batch.size",
    "max.poll.records",
    "max.retries",
    "retry.backoff",
    "retry.backoff.max",
    "retry.backoff.ms",
    "retry.backoff.max.ms",
    "retry_backoff_ms",
    "sink.parallelism",
    "source.parallelism",
];

/// Our batch keys that many others have as well: alone they do not make a document ours.
pub const COMMON_BATCH_KEYS: &[Key] = &[
    Key::BatchEnable,
    Key::BatchStrategy,
    Key::BatchSize,
    Key::BatchTimeout,
    Key::BatchWindow,
    Key::BatchParallel,
    Key::BatchMaxSize,
    Key::BatchMinSize,
];

/// The root key by which a document names its schema, and what that name contains if the schema is ours.
pub const SCHEMA_KEY: (&str, &str) = ("$schema", "velo");
