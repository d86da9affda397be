//! `unused-suppression`: a comment that silences nothing.

use super::{Rule, Severity};
use crate::finding::{Detail, Finding, Fix};
use crate::options::{Level, Options, Target, find_rule};
use crate::suppress::Suppression;

/// A `velo: allow(...)` that silences nothing.
pub const RULE: Rule = Rule {
    id: "unused-suppression",
    severity: Severity::Warning,
    summary: "A `velo: allow(...)` that silences nothing.",
    why: "The mistake it was written for is gone, or the rule's name is wrong. Left where it is, it hides the next one.",
    example: "-- velo: allow(out-of-range)\nCREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '500')",
    better: "-- velo: allow(out-of-range) the default is meant\nCREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '0')",
    check: |_, _| {},
};

/// The finding at a comment that silences nothing; none if its rule is switched off.
pub(crate) fn finding(file: usize, unused: &Suppression, options: &Options) -> Option<Finding> {
    let unknown = find_rule(&unused.rule).err();
    let is_off = options.levels.of(&unused.rule, Severity::Error) == Level::Allow
        // Of the guide's own engine one of these rules has something to say.
        || (unused.rule.starts_with("target-")
            && options.target != Some(Target::Velostream01)
            && (options.target.is_none() || unused.rule != super::target_reads_differently::RULE.id))
        || (options.record_bytes.is_none() && unused.rule == super::memory_below_record::RULE.id);
    if is_off && unknown.is_none() {
        return None;
    }
    let fix = unused.removal.clone().filter(|_| unknown.is_none());
    Some(Finding {
        rule: RULE.id,
        severity: RULE.severity,
        file,
        span: unused.span.clone(),
        detail: match unknown {
            Some(unknown) => Detail::UnknownRule { name: unknown.name, nearest: unknown.nearest },
            None => Detail::UnusedSuppression { rule: unused.rule.clone() },
        },
        // What finds nothing under this target may find something under another one.
        fix: fix.map(|range| Fix::replace(options.target.is_none(), range, "")),
        alternatives: Vec::new(),
    })
}
