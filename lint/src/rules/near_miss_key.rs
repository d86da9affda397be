//! `near-miss-key`: a key that is nearly one of ours.

use serde::Serialize;

use crate::ownership::{Owner, Weight};
use crate::rule::{Found, Rule};
use crate::scan::Form;
use crate::severity::Severity;
use crate::topic_keys::near_topic_key;

/// A key that is probably a misspelt key of velo.
pub const RULE: Rule = Rule {
    id: "near-miss-key",
    severity: Severity::Warning,
    summary: "A key that is probably a misspelt key of velo.",
    why: "A clause may contain keys of any system. A key is reported only if it differs from a key of velo in case, in separators or in at most two letters, and never if another system is known to have it. It is an error if a failure setting or a topic is meant, because records would be skipped or read from another topic, or if the scope is misspelt ('soruce.batch.size').",
    example: "WITH ('failure_stratgy' = 'FailBatch', 'batch.size' = '500')",
    better: "WITH ('failure_strategy' = 'FailBatch', 'batch.size' = '500')",
    check: |unit, out| {
        for stranger in &unit.strangers {
            if let Owner::NearMiss(near) = &stranger.owner {
                let (key, near) = (stranger.key.to_owned(), near.clone());
                let fix = stranger.respelled(&near, unit);
                let severity = match stranger.weight() {
                    Weight::Batches => RULE.severity,
                    Weight::Failures => Severity::Error,
                };
                out.add_fixable(&RULE, stranger.span.clone(), NearMiss { key, near }, fix);
                out.last_is(severity);
            }
        }
        let is_sql =
            |file| unit.clauses.iter().any(|part| part.file == file && part.clause.form == Form::Sql);
        for foreign in
            unit.foreign.iter().filter(|foreign| !foreign.of_foreign_clause && is_sql(foreign.span.file))
        {
            let Some(near) = near_topic_key(foreign.key, &unit.names) else { continue };
            out.add(&RULE, foreign.span.clone(), NearMiss { key: foreign.key.to_owned(), near });
            out.last_is(Severity::Error);
        }
    },
};

/// A key that is nearly one of ours.
#[derive(Debug, Serialize)]
struct NearMiss {
    /// As written.
    key: String,
    /// The key it is near to.
    near: String,
}

impl Found for NearMiss {
    fn message(&self) -> String {
        let Self { key, near } = self;
        format!("'{key}' is not a key of velo and has no effect; did you mean '{near}'?")
    }
}
