//! The rules: one file each, with its doc, its severity and its check. This is their list.

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
pub mod wrong_type;
pub mod zero_retries;

use rustc_hash::FxHashSet as HashSet;
use std::ops::Range;

use velo_schema::keys::Key;
use velo_schema::value::{Value, ValueError};
use velo_schema::{Config, Scope};

use crate::finding::{Detail, Edit, Finding, Fix};
use crate::options::{Level, Levels, Target};
use crate::scan::FaultKind;
use crate::span::Span;
use crate::unit::{Item, Mistake, Reading, Unit};

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
    pub why: &'static str,
    /// A text that breaks it.
    pub example: &'static str,
    /// The same text mended.
    pub better: &'static str,
    check: fn(&Unit<'_>, &mut Findings),
}

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

/// What the rules have found so far.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: &Rule, at: Span, detail: Detail) {
        self.add_fixable(rule, at, detail, None);
    }

    fn add_fixable(&mut self, rule: &Rule, at: Span, detail: Detail, fix: Option<Fix>) {
        self.0.push(Finding {
            rule: rule.id,
            severity: rule.severity,
            file: at.file,
            span: at.range,
            detail,
            fix,
            alternatives: Vec::new(),
        });
    }

    /// A finding that can be mended in several ways.
    fn add_choice(&mut self, rule: &Rule, at: Span, detail: Detail, alternatives: Vec<Fix>) {
        self.add_fixable(rule, at, detail, None);
        if let Some(finding) = self.0.last_mut() {
            finding.alternatives = alternatives;
        }
    }

    /// A finding that is only worth knowing, of a rule that is otherwise more.
    fn add_note(&mut self, rule: &Rule, at: Span, detail: Detail) {
        self.add(rule, at, detail);
        self.last_is(Severity::Info);
    }

    /// Gives the newest finding another severity than its rule's.
    fn last_is(&mut self, severity: Severity) {
        if let Some(finding) = self.0.last_mut() {
            finding.severity = severity;
        }
    }

    /// The findings in order, one a rule and place: a file may be named by several statements.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Finding> {
        crate::steps::add(self.0.len());
        self.0.sort_by(Finding::in_order);
        let place = |finding: &Finding| (finding.file, finding.span.clone(), finding.rule);
        self.0.dedup_by(|a, b| place(a) == place(b));
        self.0
    }
}

/// Runs every rule over a statement.
pub fn check(unit: &Unit<'_>, findings: &mut Findings) {
    if unit.is_ours() && !templated::check(unit, findings) {
        run(unit, findings);
    }
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

/// The findings at the levels that are asked for.
pub(crate) fn leveled(findings: Vec<Finding>, levels: &Levels) -> Vec<Finding> {
    let at_level = |mut finding: Finding| match levels.of(finding.rule, finding.severity) {
        Level::Allow => None,
        Level::Report(severity) => {
            finding.severity = severity;
            Some(finding)
        }
    };
    findings.into_iter().filter_map(at_level).collect()
}

/// A finding for every value whose error `is_mine` claims.
fn value_findings(
    unit: &Unit<'_>,
    rule: &Rule,
    findings: &mut Findings,
    is_mine: impl Fn(&Item<'_>, &ValueError) -> bool,
) {
    for item in unit.items.iter().filter(|item| !item.in_placeholder) {
        if let Reading::Wrong(error) = &item.reading
            && is_mine(item, error)
        {
            add_wrong_value(rule, findings, unit, item, error);
        }
    }
}

/// A finding at a value that is none, with what it most probably should be.
fn add_wrong_value(
    rule: &Rule,
    findings: &mut Findings,
    unit: &Unit<'_>,
    item: &Item<'_>,
    error: &ValueError,
) {
    let at = &item.value_span;
    let replace = |text: String| Fix::replace(false, at.range.clone(), text);
    let detail = Detail::Value { key: item.key, value: item.value.to_owned(), error: error.clone() };
    let (fix, alternatives) = match error {
        ValueError::UnknownWord { nearest: Some(near), .. } => (Some(replace((*near).to_owned())), vec![]),
        // Coming from an engine that reads bare numbers, there is one reading.
        ValueError::DurationWithoutUnit { number } if unit.options.target == Some(Target::Guide) => {
            let unit = if item.key == Key::RetryBackoff { "ms" } else { "s" };
            (Some(replace(format!("{number}{unit}"))), vec![])
        }
        ValueError::DurationWithoutUnit { number } => {
            (None, vec![replace(format!("{number}ms")), replace(format!("{number}s"))])
        }
        ValueError::SizeWithUnit { decimal, binary } if decimal == binary => {
            (Some(replace(decimal.to_string())), vec![])
        }
        ValueError::SizeWithUnit { decimal, binary } => {
            (None, vec![replace(decimal.to_string()), replace(binary.to_string())])
        }
        _ => (None, vec![]),
    };
    // What is offered must be a value itself.
    let is_value = |fix: &Fix| fix.edits.iter().all(|edit| item.key.def().parse(&edit.text).is_ok());
    let alternatives: Vec<_> = alternatives.into_iter().filter(is_value).collect();
    if alternatives.is_empty() {
        findings.add_fixable(rule, at.clone(), detail, fix.filter(is_value));
    } else {
        findings.add_choice(rule, at.clone(), detail, alternatives);
    }
}

/// What a rule finds in a scope: where, what, and how to mend it.
type InScope = (Span, Detail, Option<Fix>);

/// Looks at what holds in each scope and reports what is found, each place once.
///
/// A scope in which one of `needs` is set and cannot be read is left out, and so is one without
/// batches; where a file is missing, nothing is known for sure.
fn per_scope(
    unit: &Unit<'_>,
    rule: &Rule,
    findings: &mut Findings,
    needs: &[Key],
    look: impl Fn(&Scope, &Config) -> Option<InScope>,
) {
    if !unit.is_complete() {
        return;
    }
    let mut told = HashSet::default();
    for scope in unit.scopes() {
        crate::steps::add(1);
        let config = unit.config(&scope);
        let is_open = unit.is_unreadable(&scope, Key::BatchEnable)
            || needs.iter().any(|key| unit.is_unreadable(&scope, *key));
        let about_batches = needs.contains(&Key::BatchStrategy);
        if is_open || (about_batches && !config.enabled) {
            continue;
        }
        if let Some((at, detail, fix)) = look(&scope, &config)
            && told.insert(at.clone())
        {
            findings.add_fixable(rule, at, detail, fix);
        }
    }
}

/// The entry that sets the batch size of the strategy in force, and the size.
fn size_item<'u, 'a>(unit: &'u Unit<'a>, scope: &Scope, config: &Config) -> Option<(&'u Item<'a>, u64)> {
    let key = config.strategy.kind().size_key()?;
    let item = unit.effective(scope, key)?;
    let Reading::Known(parsed) = &item.reading else { return None };
    let Value::Integer(records) = parsed.value else { return None };
    Some((item, records))
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
    for Mistake { file, fault } in unit.faults.iter().filter(|mistake| mistake.fault.kind == kind) {
        let at = Span { file: *file, range: fault.span.clone() };
        findings.add_fixable(rule, at, detail.clone(), fix(fault.span.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, File, FileError, Files, Language, Options};
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
            let target = rule.id.starts_with("target-").then_some(Target::Velostream01);
            let options = Options { record_bytes: Some(2048), target, ..Options::default() };
            let language = if rule.id == invalid_yaml::RULE.id { Language::Yaml } else { Language::Sql };
            let found = |text: &str, options: &Options| {
                let found = Document::read("", text, language, &Nowhere).check(options);
                found.iter().any(|finding| finding.rule == rule.id)
            };
            assert!(found(rule.example, &options), "{}: {}", rule.id, rule.example);
            assert!(!found(rule.better, &options), "{}: {}", rule.id, rule.better);
        }
    }

    struct Nowhere;

    impl Files for Nowhere {
        fn read(&self, _: &str, path: &str) -> Result<File, FileError> {
            let settings = || File { name: path.to_owned(), text: "batch: {size: 5}".to_owned() };
            path.starts_with("configs/").then(settings).ok_or(FileError::NotFound)
        }
    }
}
