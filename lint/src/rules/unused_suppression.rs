//! `unused-suppression`: a comment that silences nothing.

use serde::Serialize;

use crate::finding::{Finding, Fix};
use crate::options::{Level, Options};
use crate::rule::{Found, Rule, UnknownRule, finding};
use crate::severity::Severity;
use crate::span::Span;
use crate::suppress::Suppression;
use crate::target::Target;
use crate::wording::{did_you_mean, one_line};

/// A `velo: allow(...)` comment that suppresses nothing.
pub const RULE: Rule = Rule {
    id: "unused-suppression",
    severity: Severity::Warning,
    summary: "A `velo: allow(...)` comment that suppresses nothing.",
    why: "The mistake is gone, or the name of the rule is wrong. An unused comment would hide the next mistake.",
    example: "-- velo: allow(out-of-range)\nCREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '500')",
    better: "-- velo: allow(out-of-range) the default is meant\nCREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '0')",
    check: |_, _| {},
};

/// A comment that silences a rule which finds nothing there.
#[derive(Debug, Serialize)]
struct UnusedSuppression {
    /// The rule.
    rule: String,
}

impl Found for UnusedSuppression {
    fn message(&self) -> String {
        let Self { rule } = self;
        format!("'{rule}' reports nothing here, so the comment can be removed")
    }
}

/// A comment that is nearly one that silences a rule.
#[derive(Debug, Serialize)]
struct MalformedSuppression {
    /// What is written behind `velo:`, or the rule.
    written: String,
}

impl Found for MalformedSuppression {
    fn message(&self) -> String {
        let written = one_line(&self.written);
        format!("'{written}' suppresses nothing; write 'velo: allow(RULE) REASON', with the name of a rule")
    }
}

impl Found for UnknownRule {
    fn message(&self) -> String {
        format!("there is no rule '{}'{}", one_line(&self.name), did_you_mean(self.nearest))
    }
}

/// Returns the finding at a comment that silences nothing; none if its rule is switched off.
pub(super) fn check(
    file: usize,
    unused: &Suppression,
    unknown: Option<UnknownRule>,
    options: &Options,
) -> Option<Finding> {
    let at = Span { file, range: unused.span.clone() };
    if unused.is_malformed {
        let written = unused.rule.clone();
        return Some(finding(&RULE, at, &MalformedSuppression { written }, None));
    }
    if let Some(unknown) = unknown {
        return Some(finding(&RULE, at, &unknown, None));
    }
    let is_off = options.levels.of(&unused.rule, Severity::Error) == Level::Allow
        // Of the guide's own engine one of these rules has something to say.
        || (unused.rule.starts_with("target-")
            && options.target != Some(Target::Velostream01)
            && (options.target.is_none() || unused.rule != super::target_reads_differently::RULE.id))
        || (options.record_bytes.is_none() && unused.rule == super::memory_below_record::RULE.id);
    if is_off {
        return None;
    }
    // What finds nothing under this target may find something under another one.
    let fix = unused.removal.clone().map(|range| Fix::replace(options.target.is_none(), range, ""));
    Some(finding(&RULE, at, &UnusedSuppression { rule: unused.rule.clone() }, fix))
}
