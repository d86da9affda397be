//! The rules: one file each, with its doc, its severity and its check. This is their list.

mod batching_disabled;
mod default_failure_strategy;
mod duplicate_key;
mod duration_without_unit;
mod inert_key;
mod invalid_duration;
mod min_above_max;
mod missing_comma;
mod missing_equals;
mod near_miss_key;
mod non_canonical_spelling;
mod not_a_boolean;
mod off_the_matrix;
mod out_of_range;
mod required_key_missing;
mod retry_key_without_retries;
mod size_with_unit;
mod trailing_comma;
mod unclosed_clause;
mod unknown_failure_strategy;
mod unknown_key;
mod unknown_strategy;
mod unquoted;
mod unterminated_string;
mod wrong_type;

use std::ops::Range;

use velo_schema::value::{Kind, ValueError};

use crate::finding::{Detail, Finding, Fix};
use crate::scan::FaultKind;
use crate::unit::{Reading, Unit};

pub use crate::finding::Severity;

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, in findings and on the command line.
    pub id: &'static str,
    /// How bad its findings are.
    pub severity: Severity,
    /// What it finds, in one line.
    pub summary: &'static str,
    /// Why it matters and what to do.
    pub doc: &'static str,
    check: fn(&Unit<'_>, &mut Findings),
}

/// Every rule: syntax, values, meaning.
pub const RULES: &[&Rule] = &[
    &unterminated_string::RULE,
    &missing_comma::RULE,
    &missing_equals::RULE,
    &trailing_comma::RULE,
    &unclosed_clause::RULE,
    &unquoted::RULE,
    &duplicate_key::RULE,
    &unknown_key::RULE,
    &near_miss_key::RULE,
    &unknown_strategy::RULE,
    &unknown_failure_strategy::RULE,
    &wrong_type::RULE,
    &not_a_boolean::RULE,
    &invalid_duration::RULE,
    &duration_without_unit::RULE,
    &size_with_unit::RULE,
    &out_of_range::RULE,
    &non_canonical_spelling::RULE,
    &min_above_max::RULE,
    &inert_key::RULE,
    &required_key_missing::RULE,
    &retry_key_without_retries::RULE,
    &batching_disabled::RULE,
    &default_failure_strategy::RULE,
    &off_the_matrix::RULE,
];

/// What the rules have found so far.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: &Rule, span: Range<usize>, detail: Detail) {
        self.add_fixable(rule, span, detail, None);
    }

    fn add_fixable(&mut self, rule: &Rule, span: Range<usize>, detail: Detail, fix: Option<Fix>) {
        self.0.push(Finding { rule: rule.id, severity: rule.severity, span, detail, fix });
    }

    /// The findings in the order of their places.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Finding> {
        self.0.sort_by(|a, b| (a.span.start, a.span.end, a.rule).cmp(&(b.span.start, b.span.end, b.rule)));
        self.0
    }
}

/// Runs every rule over a statement.
pub fn check(unit: &Unit<'_>, findings: &mut Findings) {
    if unit.is_ours() {
        for rule in RULES {
            (rule.check)(unit, findings);
        }
    }
}

/// A finding for every value whose error `is_mine` claims.
fn value_findings(
    unit: &Unit<'_>,
    rule: &Rule,
    findings: &mut Findings,
    is_mine: impl Fn(Kind, &ValueError) -> bool,
) {
    for item in &unit.items {
        let Reading::Wrong(error) = &item.reading else { continue };
        if !is_mine(item.key.def().kind, error) {
            continue;
        }
        let fix = match error {
            ValueError::UnknownWord { nearest: Some(near), .. } => {
                Some(Fix::replace(false, item.value_span.clone(), *near))
            }
            _ => None,
        };
        let detail = Detail::Value { key: item.key, value: item.value.to_owned(), error: error.clone() };
        findings.add_fixable(rule, item.value_span.clone(), detail, fix);
    }
}

/// A finding for every syntax fault of one kind.
fn fault_findings(
    unit: &Unit<'_>,
    rule: &Rule,
    findings: &mut Findings,
    kind: FaultKind,
    detail: &Detail,
    fix: impl Fn(Range<usize>) -> Option<Fix>,
) {
    for fault in unit.faults.iter().filter(|fault| fault.kind == kind) {
        findings.add_fixable(rule, fault.span.clone(), detail.clone(), fix(fault.span.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn rules_have_names_of_their_own_and_docs_that_end() {
        let ids: HashSet<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
        for rule in RULES {
            assert!(rule.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", rule.id);
            assert!(rule.summary.ends_with('.') && rule.doc.ends_with('.'), "{}", rule.id);
        }
    }
}
