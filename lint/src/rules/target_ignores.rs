//! `target-ignores`: a key that the target engine does not read.

use serde::Serialize;
use velo_schema::Scope;
use velo_schema::keys::Key;

use crate::finding::Fix;
use crate::rule::{Found, Rule};
use crate::scan::Form;
use crate::severity::Severity;
use crate::target::Target;
use crate::unit::{Item, Unit};
use crate::wording::one_line;

/// A key that the engine given with --target ignores.
pub const RULE: Rule = Rule {
    id: "target-ignores",
    severity: Severity::Warning,
    summary: "A key that the engine given with --target ignores.",
    why: "velostream 0.1 reads batch keys only with the prefix sink., for the whole job, and failure keys only without a prefix. It ignores other keys without a message and uses its defaults.",
    example: "WITH ('batch.size' = '500')",
    better: "WITH ('sink.batch.size' = '500')",
    check: |unit, out| {
        if unit.options.target != Some(Target::Velostream01) {
            return;
        }
        for item in unit.effective_items() {
            let Some((instead, scope)) = ignored(item) else { continue };
            let detail = TargetIgnores { target: Target::Velostream01, what: item.qualified(), instead };
            let fix = scope.and_then(|scope| moved(unit, item, &scope));
            out.add_fixable(&RULE, item.key_span.clone(), detail, fix);
        }
    },
};

/// A setting that the target does not read.
#[derive(Debug, Serialize)]
struct TargetIgnores {
    /// The target.
    target: Target,
    /// The key, with its scope, or the value that is not read.
    what: String,
    /// What holds instead.
    instead: &'static str,
}

impl Found for TargetIgnores {
    fn message(&self) -> String {
        let Self { target, what, instead } = self;
        format!("{} does not read '{}': {instead}", target.word(), one_line(what))
    }
}

/// Keys of the guide that the engine has no counterpart of.
const UNKNOWN_THERE: &[Key] = &[
    Key::BatchMegaBatchSize,
    Key::BatchParallel,
    Key::BatchReuseBuffer,
    Key::RetryBackoffMax,
    Key::OnExhausted,
    Key::DlqTopic,
    Key::TransactionBatches,
];

/// Why a key is not read, and the scope that it would be read in.
fn ignored(item: &Item<'_>) -> Option<(&'static str, Option<Scope>)> {
    let of_batches = item.key.name().starts_with("batch.");
    if UNKNOWN_THERE.contains(&item.key) {
        Some(("it has no such key", None))
    } else if of_batches && item.scope != Scope::Sink {
        Some(("it reads batch keys behind 'sink.' only, for the whole job", Some(Scope::Sink)))
    } else if !of_batches && item.scope != Scope::Job {
        Some(("it reads failure keys without a prefix only", Some(Scope::Job)))
    } else {
        None
    }
}

/// True if the engine reads the entry.
pub(super) fn is_read_by_velostream(item: &Item<'_>) -> bool {
    ignored(item).is_none()
}

/// The key in another scope, unless it stands there already.
fn moved(unit: &Unit<'_>, item: &Item<'_>, scope: &Scope) -> Option<Fix> {
    let is_free = unit.set_in(scope, item.key).is_none();
    let is_sql = unit.clauses[item.clause].clause.form == Form::Sql;
    let key = scope.qualify(item.key);
    (is_free && is_sql).then(|| Fix::replace(false, item.key_span.range.clone(), key))
}
