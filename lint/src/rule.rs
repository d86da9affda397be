//! What a rule is, and what rules are made with: a statement in, findings out. `rules/` has one file a rule.

use std::ops::Range;
use std::time::Duration;

use rustc_hash::FxHashSet as HashSet;
use serde::{Serialize, Serializer};
use velo_schema::keys::Key;
use velo_schema::value::Value;
use velo_schema::{Config, Scope};

use crate::finding::{Finding, Fix, Related};
use crate::scan::FaultKind;
use crate::severity::Severity;
use crate::span::Span;
use crate::unit::{Item, Mistake, Reading, Unit};
use crate::wording::did_you_mean;

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, in findings and on the command line.
    pub id: &'static str,
    /// How severe its findings are.
    pub severity: Severity,
    /// What it finds, in one line.
    pub summary: &'static str,
    /// Why it matters and what to do.
    pub why: &'static str,
    /// A text that breaks it.
    pub example: &'static str,
    /// The same text without the mistake.
    pub better: &'static str,
    pub(crate) check: fn(&Unit<'_>, &mut Findings),
}

/// What a rule finds: its data, of which the message consists. Durations are in milliseconds.
pub(crate) trait Found: Serialize {
    /// Returns one or two sentences: what is wrong, why it matters, what to do.
    fn message(&self) -> String;
}

/// A name that no rule has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("there is no rule '{name}'{}", did_you_mean(*nearest))]
pub struct UnknownRule {
    /// As written.
    pub name: String,
    /// The rule it is near to.
    pub nearest: Option<&'static str>,
}

/// Makes a finding of what was found.
pub(crate) fn finding(rule: &Rule, at: Span, found: &impl Found, fix: Option<Fix>) -> Finding {
    Finding {
        rule: rule.id,
        severity: rule.severity,
        file: at.file,
        span: at.range,
        message: found.message(),
        // Nothing that rules find has keys other than text, so it is always JSON.
        data: serde_json::to_value(found).unwrap_or_default(),
        fix,
        alternatives: Vec::new(),
        related: None,
    }
}

/// Writes a duration as its milliseconds.
pub(crate) fn milliseconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// What the rules have found so far.
#[derive(Debug, Default)]
pub struct Findings(pub(crate) Vec<Finding>);

#[allow(clippy::needless_pass_by_value, reason = "what is found is made for the call")]
impl Findings {
    /// Adds a finding that no change is known to fix.
    pub(crate) fn add(&mut self, rule: &Rule, at: Span, found: impl Found) {
        self.add_fixable(rule, at, found, None);
    }

    /// Adds a finding with the change that fixes it.
    pub(crate) fn add_fixable(&mut self, rule: &Rule, at: Span, found: impl Found, fix: Option<Fix>) {
        self.0.push(finding(rule, at, &found, fix));
    }

    /// Adds a finding that can be fixed in several ways.
    pub(crate) fn add_choice(&mut self, rule: &Rule, at: Span, found: impl Found, alternatives: Vec<Fix>) {
        self.add_fixable(rule, at, found, None);
        if let Some(finding) = self.0.last_mut() {
            finding.alternatives = alternatives;
        }
    }

    /// Adds a finding that is only worth knowing, of a rule that is otherwise more.
    pub(crate) fn add_note(&mut self, rule: &Rule, at: Span, found: impl Found) {
        self.add(rule, at, found);
        self.last_is(Severity::Info);
    }

    /// Says which other place of the same text the newest finding is about.
    pub(crate) fn last_is_related(&mut self, span: Range<usize>, what: &'static str) {
        if let Some(finding) = self.0.last_mut() {
            finding.related = Some(Related { span, what });
        }
    }

    /// Gives the newest finding another severity than its rule's.
    pub(crate) fn last_is(&mut self, severity: Severity) {
        if let Some(finding) = self.0.last_mut() {
            finding.severity = severity;
        }
    }

    /// The findings in order, one a rule and place: a file may be named by several statements.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Finding> {
        crate::steps::add(self.0.len());
        self.0.sort_by(Finding::in_order);
        self.0.dedup_by(|a, b| a.is_at(b));
        self.0
    }
}

/// Looks at what holds in each scope and reports what is found there (where, what, and what fixes it), each place
/// once.
///
/// A scope in which one of `needs` is set and cannot be read is left out, and so is one without
/// batches. If a file is missing, no scope is looked at.
pub(crate) fn per_scope<F: Found>(
    unit: &Unit<'_>,
    rule: &Rule,
    findings: &mut Findings,
    needs: &[Key],
    look: impl Fn(&Scope, &Config) -> Option<(Span, F, Option<Fix>)>,
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
        if let Some((at, found, fix)) = look(&scope, &config)
            && told.insert(at.clone())
        {
            findings.add_fixable(rule, at, found, fix);
        }
    }
}

/// The entry that sets the batch size of the strategy in force, and the size.
pub(crate) fn size_item<'u, 'a>(
    unit: &'u Unit<'a>,
    scope: &Scope,
    config: &Config,
) -> Option<(&'u Item<'a>, u64)> {
    let key = config.strategy.kind().size_key()?;
    let item = unit.effective(scope, key)?;
    let Reading::Known(parsed) = &item.reading else { return None };
    let Value::Integer(records) = parsed.value else { return None };
    Some((item, records))
}

/// A finding for every syntax fault of one kind.
pub(crate) fn fault_findings(
    unit: &Unit<'_>,
    rule: &Rule,
    findings: &mut Findings,
    kind: FaultKind,
    found: &impl Found,
    fix: impl Fn(Range<usize>) -> Option<Fix>,
) {
    for Mistake { file, fault } in unit.faults.iter().filter(|mistake| mistake.fault.kind == kind) {
        let at = Span { file: *file, range: fault.span.clone() };
        findings.0.push(finding(rule, at, found, fix(fault.span.clone())));
    }
}
