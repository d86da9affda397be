//! The rules: one file each, with its doc, its severity, its data, its message and its check. This is their list.

pub mod backoff_above_latency;
pub mod batching_disabled;
pub mod blast_radius;
pub mod config_file;
pub mod default_failure_strategy;
pub mod dlq_topic_in_use;
pub mod duplicate_key;
pub mod duration_without_unit;
pub mod eager_moots_wait;
pub mod empty_clause;
pub mod inert_key;
pub mod invalid_duration;
pub mod invalid_yaml;
pub mod just_over_tier_boundary;
pub mod large_batch;
pub mod memory_below_record;
pub mod min_above_max;
pub mod missing_comma;
pub mod missing_equals;
pub mod near_miss_key;
pub mod non_canonical_spelling;
pub mod not_a_boolean;
pub mod off_the_matrix;
pub mod out_of_range;
pub mod parallel_transaction;
pub mod placeholder_default;
pub mod producer_bytes;
pub mod redundant_key;
pub mod required_key_missing;
pub mod retry_hold_time;
pub mod retry_key_without_retries;
pub mod size_above_cap;
pub mod size_above_target;
pub mod size_with_unit;
pub mod target_ignores;
pub mod target_poll_interval;
pub mod target_reads_differently;
mod templated;
pub mod timeout_above_target;
pub mod trailing_comma;
pub mod unclosed_clause;
pub mod unknown_failure_strategy;
pub mod unknown_key;
pub mod unknown_strategy;
pub mod unquoted;
pub mod unterminated_string;
pub mod unused_suppression;
mod value;
pub mod wrong_type;
pub mod zero_retries;

use velo_schema::meant;

use crate::finding::{Edit, Finding};
use crate::options::{Level, Levels, Options};
use crate::rule::{Findings, Rule, UnknownRule};
use crate::severity::Severity;

use crate::span::Span;
use crate::suppress::Suppression;
use crate::unit::Unit;

/// Every rule: syntax, values, meaning, notes.
pub const RULES: &[&Rule] = &[
    &unterminated_string::RULE,
    &missing_comma::RULE,
    &missing_equals::RULE,
    &trailing_comma::RULE,
    &unclosed_clause::RULE,
    &empty_clause::RULE,
    &unquoted::RULE,
    &duplicate_key::RULE,
    &invalid_yaml::RULE,
    &config_file::RULE,
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
    &placeholder_default::RULE,
    &min_above_max::RULE,
    &size_above_cap::RULE,
    &inert_key::RULE,
    &required_key_missing::RULE,
    &retry_key_without_retries::RULE,
    &zero_retries::RULE,
    &batching_disabled::RULE,
    &redundant_key::RULE,
    &timeout_above_target::RULE,
    &memory_below_record::RULE,
    &backoff_above_latency::RULE,
    &blast_radius::RULE,
    &parallel_transaction::RULE,
    &dlq_topic_in_use::RULE,
    &default_failure_strategy::RULE,
    &eager_moots_wait::RULE,
    &retry_hold_time::RULE,
    &large_batch::RULE,
    &just_over_tier_boundary::RULE,
    &size_above_target::RULE,
    &producer_bytes::RULE,
    &off_the_matrix::RULE,
    &target_ignores::RULE,
    &target_reads_differently::RULE,
    &target_poll_interval::RULE,
    &unused_suppression::RULE,
];

/// The rule of this name.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.id == id)
}

/// The name that stands for every rule.
pub const ALL: &str = "all";

/// Returns the rule of this name.
///
/// # Errors
/// If there is none.
pub fn named(name: &str) -> Result<&'static Rule, UnknownRule> {
    let nearest = || meant(name, RULES.iter().map(|rule| rule.id));
    find(name).ok_or_else(|| UnknownRule { name: name.to_owned(), nearest: nearest() })
}

/// Sets the level of a rule, or of all of them ([`ALL`]).
///
/// # Errors
/// If there is no such rule.
pub fn set_level(levels: &mut Levels, name: &str, level: Level) -> Result<(), UnknownRule> {
    if name == ALL {
        for rule in RULES {
            levels.set(rule.id, level);
        }
        return Ok(());
    }
    levels.set(named(name)?.id, level);
    Ok(())
}

/// Runs every rule over a statement.
pub fn check(unit: &Unit<'_>, findings: &mut Findings) {
    if unit.is_ours() && !templated::check(unit, findings, &run) {
        run(unit, findings);
    }
}

/// Returns what makes the settings of a statement unusable. Comments that silence findings silence none of these.
#[must_use]
pub fn errors(unit: &Unit<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    check(unit, &mut findings);
    findings.into_sorted().into_iter().filter(|finding| finding.severity == Severity::Error).collect()
}

fn run(unit: &Unit<'_>, findings: &mut Findings) {
    let before = findings.0.len();
    for rule in RULES {
        crate::steps::add(unit.items.len());
        (rule.check)(unit, findings);
    }
    for finding in &mut findings.0[before..] {
        let is_shared = |edit: &Edit| unit.is_shared(&Span { file: finding.file, range: edit.span.clone() });
        if let Some(fix) = &mut finding.fix {
            // Whoever shares the text by an alias may mean something else by it.
            fix.safe &= !fix.edits.iter().any(is_shared);
        }
    }
}

/// Returns the finding at a comment that silences nothing, if there is one.
pub(crate) fn unused(file: usize, unused: &Suppression, options: &Options) -> Option<Finding> {
    unused_suppression::check(file, unused, named(&unused.rule).err(), options)
}

/// The findings at the levels that are asked for.
pub(crate) fn leveled<'o>(findings: Vec<Finding>, levels: impl Fn(usize) -> &'o Levels) -> Vec<Finding> {
    let at_level = |mut finding: Finding| match levels(finding.file).of(finding.rule, finding.severity) {
        Level::Allow => None,
        Level::Report(severity) => {
            finding.severity = severity;
            Some(finding)
        }
    };
    findings.into_iter().filter_map(at_level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::report;
    use rustc_hash::FxHashSet as HashSet;

    #[test]
    fn rules_have_names_of_their_own_and_docs_that_end() {
        let ids: HashSet<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
        for rule in RULES {
            assert!(rule.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", rule.id);
            assert!(rule.summary.ends_with('.') && rule.why.ends_with('.'), "{}", rule.id);
        }
    }

    #[test]
    fn every_example_breaks_its_rule_and_the_better_text_does_not() {
        for rule in RULES {
            let finds = |text: &str| !report(rule, text).findings.is_empty();
            assert!(finds(rule.example), "{}: {}", rule.id, rule.example);
            assert!(!finds(rule.better), "{}: {}", rule.id, rule.better);
        }
    }

    #[test]
    fn the_last_level_of_a_rule_holds_and_all_means_all() {
        let mut levels = Levels::default();
        set_level(&mut levels, ALL, Level::Allow).unwrap();
        set_level(&mut levels, "inert-key", Level::Report(Severity::Error)).unwrap();
        assert_eq!(levels.of("inert-key", Severity::Warning), Level::Report(Severity::Error));
        assert_eq!(levels.of("unquoted", Severity::Warning), Level::Allow);
        let unknown = set_level(&mut levels, "inert-keys", Level::Allow).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no rule 'inert-keys'; did you mean 'inert-key'?");
    }
}
