//! `near-miss-key`: a key that is nearly one of ours.

use serde::Serialize;

use crate::ownership::{Owner, Weight};
use crate::rule::{Found, Rule};
use crate::scan::Form;
use crate::severity::Severity;
use crate::topics::near_topic_key;

/// A key that is nearly one of ours.
pub const RULE: Rule = Rule {
    id: "near-miss-key",
    severity: Severity::Warning,
    summary: "A key that is nearly one of ours.",
    why: "A clause may hold any system's keys, so a key is reported only if it differs from one of ours by its \
          case, its separators or two letters, and never if it is known to belong to another system. It is an \
          error if it is a key for failures or topics, because records would meet with the default instead or \
          come from elsewhere, or if its prefix is misspelt ('soruce.batch.size').",
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
        format!("'{key}' is not a key and has no effect; did you mean '{near}'?")
    }
}
