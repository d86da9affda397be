//! `target-reads-differently`: a value or a scope that means something else to the target engine.

use serde::Serialize;
use velo_schema::keys::Key;
use velo_schema::value::{Kind, Value, ValueError};
use velo_schema::{Scope, StrategyKind, format_duration};

use crate::finding::Fix;
use crate::rule::{Found, Rule};
use crate::scan::Form;
use crate::severity::Severity;
use crate::target::Target;
use crate::unit::{Item, Reading, Unit};
use crate::wording::one_line;

/// A value that the engine given with --target interprets differently.
pub const RULE: Rule = Rule {
    id: "target-reads-differently",
    severity: Severity::Warning,
    summary: "A value that the engine given with --target interprets differently.",
    why: "velostream 0.1 reads durations without a unit as seconds in batch keys, expects milliseconds without a unit in retry_backoff, compares failure strategies exactly, and ignores all batch settings if one value is invalid. --target guide reports values that are written for velostream 0.1; its fixes migrate back.",
    example: "WITH ('failure_strategy' = 'RetryWithBackoff', 'retry_backoff' = '2000ms')",
    better: "WITH ('failure_strategy' = 'RetryWithBackoff', 'retry_backoff' = '2000')",
    check: |unit, out| {
        let Some(target) = unit.options.target else { return };
        for item in unit.effective_items().filter(|item| !item.in_placeholder) {
            let found = match target {
                Target::Velostream01 => read_by_velostream(item),
                Target::Guide => read_by_guide(unit, item),
            };
            if let Some(Differs { value, reading, at_key, fix }) = found {
                let at = if at_key { &item.key_span } else { &item.value_span };
                let detail = TargetReads { target, value, reading };
                let fix = fix.map(|(safe, text)| Fix::replace(safe, at.range.clone(), text));
                out.add_fixable(&RULE, at.clone(), detail, fix);
            }
        }
    },
};

/// A value that the target reads in another way.
#[derive(Debug, Serialize)]
struct TargetReads {
    /// The target.
    target: Target,
    /// The value.
    value: String,
    /// How it is read.
    reading: String,
}

impl Found for TargetReads {
    fn message(&self) -> String {
        let Self { target, value, reading } = self;
        format!("{} reads '{}' as {reading}", target.word(), one_line(value))
    }
}

/// What is read differently, how, and what to write: safe or not.
struct Differs {
    value: String,
    reading: String,
    at_key: bool,
    fix: Option<(bool, String)>,
}

fn differs(item: &Item<'_>, reading: &str, fix: Option<(bool, String)>) -> Differs {
    Differs { value: item.value.to_owned(), reading: reading.to_owned(), at_key: false, fix }
}

/// Whether the engine reads a duration with its own parser, and not as bare milliseconds.
fn is_batch_duration(item: &Item<'_>) -> bool {
    matches!(item.key.def().kind, Kind::Duration { .. }) && item.key.name().starts_with("batch.")
}

/// Whether the engine has a reading of its own of this bare number.
pub(super) fn reads_bare_number(unit: &Unit<'_>, item: &Item<'_>) -> bool {
    let is_backoff = item.key == Key::RetryBackoff && item.scope == Scope::Job;
    unit.options.target == Some(Target::Velostream01) && (is_backoff || is_batch_duration(item))
}

fn read_by_velostream(item: &Item<'_>) -> Option<Differs> {
    const DROPPED: &str = "no value of its own, and drops all batch settings with it";
    let parsed = match &item.reading {
        Reading::Known(parsed) => parsed,
        Reading::Wrong(ValueError::DurationWithoutUnit { number }) if is_batch_duration(item) => {
            let seconds = Some(format!("{number}s")).filter(|text| item.key.def().parse(text).is_ok());
            return Some(differs(item, &format!("{number} seconds"), seconds.map(|text| (true, text))));
        }
        _ => return None,
    };
    let found = match &parsed.value {
        Value::Strategy(StrategyKind::MegaBatch) => differs(item, DROPPED, None),
        Value::FailureStrategy(strategy)
            if item.scope == Scope::Job && item.value != strategy.to_string() =>
        {
            let fix = Some((true, strategy.to_string()));
            differs(item, "no strategy, and keeps its default, LogAndContinue", fix)
        }
        Value::Duration(backoff) if item.key == Key::RetryBackoff && item.scope == Scope::Job => {
            let fix = Some((false, backoff.as_millis().to_string()));
            differs(item, "no number of milliseconds, and keeps its default, 5000", fix)
        }
        Value::Duration(duration) if is_batch_duration(item) && !is_short(item.value) => {
            differs(item, DROPPED, Some((true, format_duration(*duration))))
        }
        Value::Boolean(value) if matches!(item.value.to_ascii_lowercase().as_str(), "on" | "off") => {
            differs(item, DROPPED, Some((true, value.to_string())))
        }
        _ => return None,
    };
    Some(found)
}

/// Whether a duration is whole digits and a short unit with nothing between them.
fn is_short(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    matches!(unit, "ms" | "s" | "m" | "h" | "d")
}

/// What was written for the engine and means something else to the guide.
fn read_by_guide(unit: &Unit<'_>, item: &Item<'_>) -> Option<Differs> {
    let of_batches = |item: &Item<'_>| item.key.name().starts_with("batch.");
    let whole_job = item.scope == Scope::Sink
        && of_batches(item)
        && unit.items.iter().all(|other| !of_batches(other) || other.scope == Scope::Sink);
    let is_sql = unit.clauses[item.clause].clause.form == Form::Sql;
    whole_job.then(|| Differs {
        value: item.qualified(),
        reading: "a setting of the writing side only, where velostream-0.1 meant the whole job".to_owned(),
        at_key: true,
        fix: is_sql.then(|| (false, Scope::Job.qualify(item.key))),
    })
}
