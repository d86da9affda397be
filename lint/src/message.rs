//! A finding's prose: what is wrong, why it matters, what to do.

use velo_schema::tier::STANDARD_MAX_RECORDS;
use velo_schema::value::{MAX_DURATION, ValueError};
use velo_schema::{format_bytes, format_duration};

use crate::finding::Detail;

/// One or two sentences on a finding.
#[must_use]
#[allow(clippy::too_many_lines, reason = "a table: one arm for each thing that can be found")]
pub fn message(detail: &Detail) -> String {
    match detail {
        Detail::UnknownKey { key, nearest } => {
            format!("unknown key '{key}'{}", did_you_mean(nearest.as_deref()))
        }
        Detail::KeyInWrongScope { key, scope } => {
            format!("'{key}' is a setting of the whole job; under '{scope}.' it has no effect")
        }
        Detail::NearMiss { key, near } => {
            format!("'{key}' is not a key and has no effect; did you mean '{near}'?")
        }
        Detail::Value { key, value, error } => value_message(key.name(), value, error),
        Detail::Spelling { value, canonical } => format!("'{value}' is spelled '{canonical}'"),
        Detail::UnterminatedString => "the closing quote is missing".to_owned(),
        Detail::MissingComma => "a comma is missing between these two entries".to_owned(),
        Detail::MissingEquals => "an '=' is missing between key and value".to_owned(),
        Detail::TrailingComma => "a comma with no entry behind it".to_owned(),
        Detail::UnclosedClause => "the clause's closing ')' is missing".to_owned(),
        Detail::Unquoted { is_key: true } => "keys are written in quotes".to_owned(),
        Detail::Unquoted { is_key: false } => "values are written in quotes".to_owned(),
        Detail::MissingValue { key } => format!("'{key}' has no value"),
        Detail::DuplicateKey { key, .. } => {
            format!("'{key}' is set twice in the same scope; only the last value applies")
        }
        Detail::MinAboveMax { min, min_is_default, max, max_is_default } => {
            let of_default = |is_default: &bool| if *is_default { ", its default" } else { "" };
            format!(
                "batch.min_size ({min}{}) is above batch.adaptive_max_size ({max}{}): no batch size fits both",
                of_default(min_is_default),
                of_default(max_is_default)
            )
        }
        Detail::SizeAboveCap { key, records, cap, cap_is_default } => format!(
            "'{key}' ({records}) is above batch.max_size ({cap}{}): no batch holds more than {cap} records",
            if *cap_is_default { ", its default" } else { "" }
        ),
        Detail::InertKey { key, strategy, used_by } => {
            let used_by: Vec<_> = used_by.iter().map(ToString::to_string).collect();
            format!("'{key}' has no effect under {strategy}; it belongs to {}", used_by.join(", "))
        }
        Detail::BatchingDisabled { keys } => {
            let has = if keys.len() == 1 { "has" } else { "have" };
            format!("batch.enable is false, so {} {has} no effect", keys.join(", "))
        }
        Detail::RetryKeyWithoutRetries { key } => {
            format!("'{key}' has no effect without 'failure_strategy' = 'RetryWithBackoff'")
        }
        Detail::RequiredKeyMissing { key, needed_by } => {
            format!("'{needed_by}' has no effect as long as '{key}' is not set")
        }
        Detail::DefaultFailureStrategy => {
            "no failure_strategy is set: records that fail are logged and left out (LogAndContinue)"
                .to_owned()
        }
        Detail::EmptyClause => "the clause is empty: every setting keeps its default".to_owned(),
        Detail::InvalidYaml { reason } => {
            format!("invalid YAML: {}; the rest of the file was not checked", one_line(reason))
        }
        Detail::LostFile { path, error } => {
            format!("'{}' cannot be checked: {error}", one_line(path))
        }
        Detail::UnusedSuppression { rule } => format!("'{rule}' finds nothing here to allow"),
        Detail::UnknownRule { name, nearest } => {
            format!("there is no rule '{}'{}", one_line(name), did_you_mean(*nearest))
        }
        Detail::DlqWithoutLetters { key, strategy } => {
            format!("'{key}' has no effect under {strategy}, which sends nothing to a dead letter queue")
        }
        Detail::DefaultStrategyMeant { needed_by } => {
            format!("'{needed_by}' belongs to fixed_size, which holds only because it is the default")
        }
        Detail::ZeroRetries => {
            "with no retries the first failure is the last: on_exhausted follows at once".to_owned()
        }
        Detail::TimeoutAboveTarget { timeout, target } => format!(
            "batch.timeout ({}) is above batch.target_latency ({}): a record can miss the target while its batch fills",
            format_duration(*timeout),
            format_duration(*target)
        ),
        Detail::MemoryBelowRecord { bytes, record_bytes } => format!(
            "{} hold no record of {}: every record becomes a batch of its own",
            format_bytes(*bytes),
            format_bytes(*record_bytes)
        ),
        Detail::DlqTopicInUse { topic, is_source: true } => {
            format!(
                "dead letters go to '{topic}', which the statement reads: they would come again without end"
            )
        }
        Detail::DlqTopicInUse { topic, is_source: false } => {
            format!("dead letters go to '{topic}', among the results that the statement writes")
        }
        Detail::BlastRadius { records } => {
            format!("one bad record fails a batch of up to {records} records, and with it the job")
        }
        Detail::BackoffAboveLatency { backoff, latency } => format!(
            "a retry waits {}, but low_latency is chosen for latencies up to {} (the guide's figure)",
            format_duration(*backoff),
            format_duration(*latency)
        ),
        Detail::ParallelTransaction { batches, is_default } => format!(
            "a transaction of {batches} batches needs them in order, but batch.parallel is true{}",
            if *is_default { ", its default" } else { "" }
        ),
        Detail::RedundantKey { key, from } => {
            format!("'{key}' repeats the value of the {from}, which holds anyway")
        }
        Detail::EagerMootsWait => {
            "batch.eager_processing hands a batch on before this wait is over".to_owned()
        }
        Detail::RetryHoldTime { retries, total } => format!(
            "a batch that keeps failing holds its partitions for {} over {retries} {}",
            format_duration(*total),
            if *retries == 1 { "retry" } else { "retries" }
        ),
        Detail::LargeBatch { records, record_bytes, is_assumed } => format!(
            "a batch of {records} records takes {} of memory at {} a record{}",
            format_bytes(records.saturating_mul(*record_bytes)),
            format_bytes(*record_bytes),
            if *is_assumed { " (assumed; say --record-size)" } else { "" }
        ),
        Detail::JustOverTierBoundary { records } => {
            format!("{records} records select the Buffered tier; up to {STANDARD_MAX_RECORDS} it is Standard")
        }
        Detail::SizeAboveTarget { records, latency, target } => format!(
            "batches of {records} records take {} or more (the guide's figure), above the target of {}",
            format_duration(*latency),
            format_duration(*target)
        ),
        Detail::ProducerBytes { records } => {
            format!("{records} looks like a producer's bytes; batch.size is a number of records here")
        }
        Detail::TargetIgnores { target, what, instead } => {
            format!("{} does not read '{}': {instead}", target.word(), one_line(what))
        }
        Detail::TargetReads { target, value, reading } => {
            format!("{} reads '{}' as {reading}", target.word(), one_line(value))
        }
        Detail::TargetPollInterval { target, total, limit } => format!(
            "{} sleeps between retries: for {} it does not poll, and after {} its group takes its partitions away",
            target.word(),
            format_duration(*total),
            format_duration(*limit)
        ),
        Detail::OffTheMatrix { strategy, records, nearest } => format!(
            "{strategy} with {records} records is off the decision matrix; its nearest row is {}",
            nearest.word()
        ),
    }
}

/// A value as it can stand in a sentence.
fn one_line(value: &str) -> String {
    const MOST: usize = 80;
    let shown: String = value.chars().take(MOST).collect();
    let more = if shown.len() < value.len() { "…" } else { "" };
    format!("{}{more}", shown.escape_debug())
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default()
}

fn value_message(key: &str, value: &str, error: &ValueError) -> String {
    let value = one_line(value);
    match error {
        ValueError::Empty => format!("'{key}' has an empty value"),
        ValueError::NotABoolean => format!("'{value}' is neither true nor false"),
        ValueError::UnknownWord { nearest: Some(nearest), .. } => {
            format!("'{value}' is not a value of '{key}'{}", did_you_mean(Some(nearest)))
        }
        ValueError::UnknownWord { expected, nearest: None } => {
            format!("'{value}' is not a value of '{key}', which takes {}", expected.join(", "))
        }
        ValueError::NotAnInteger { unit } => format!("'{value}' is not a whole number of {unit}"),
        ValueError::SizeWithUnit { decimal, binary } => {
            format!("'{key}' is a bare number of bytes; '{value}' can mean {decimal} or {binary}")
        }
        ValueError::OutOfRange { min, max } => {
            format!("'{value}' is out of range: '{key}' takes {min} to {max}")
        }
        ValueError::DurationWithoutUnit { number } if number.starts_with('-') => {
            format!("'{number}' is negative and has no unit; durations are a number and ms, s, m, h or d")
        }
        ValueError::DurationWithoutUnit { number } => {
            format!("'{number}' has no unit, and is read as milliseconds by some and as seconds by others")
        }
        ValueError::InvalidDuration => format!(
            "'{value}' is not a duration: a number and ms, s, m, h or d, up to {}, as in '500ms'",
            format_duration(MAX_DURATION)
        ),
        other => format!("'{value}': {other}"),
    }
}
