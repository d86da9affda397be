//! A statement whose entries depend on a template in; what is wrong in every rendering of it out.

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::rule::Findings;
use crate::template::{Branches, has_tag};
use crate::unit::Unit;

/// Runs every rule over a statement.
type Run = dyn Fn(&Unit<'_>, &mut Findings);

/// Checks a statement rendering by rendering: entries in different branches are never there together.
/// A finding counts if every rendering that its place is in has it. Returns false, and finds nothing, if
/// no template decides which entries there are.
pub(super) fn check(unit: &Unit<'_>, findings: &mut Findings, run: &Run) -> bool {
    let range = unit.statement.span.clone();
    if !has_tag(&unit.text[range.clone()]) {
        return false;
    }
    let mut branches = Branches::of(unit.text, range);
    let spans = unit.items.iter().map(|item| &item.key_span).chain(unit.strangers.iter().map(|s| &s.span));
    if !branches.concern(spans.filter(|span| span.file == 0).map(|span| span.range.start)) {
        return false;
    }
    let renderings = 0..branches.renderings();
    let is_in = |file: usize, at: usize, rendering: usize| file != 0 || branches.is_in(at, rendering);
    let mut found = BTreeMap::new();
    for rendering in renderings.clone() {
        let unit = unit.only(|span| is_in(span.file, span.range.start, rendering));
        for finding in of(&unit, run) {
            let place = (finding.file, finding.span.start, finding.span.end, finding.rule);
            found.entry(place).or_insert((finding, 0)).1 += 1;
        }
    }
    let possible = |finding: &Finding| {
        renderings.clone().filter(|n| is_in(finding.file, finding.span.start, *n)).count()
    };
    let always = found.into_values().filter(|(finding, times)| possible(finding) == *times);
    findings.0.extend(always.map(|(finding, _)| finding));
    // A branch that no sampled rendering has is judged with all others.
    findings.0.extend(of(unit, run).into_iter().filter(|finding| possible(finding) == 0));
    true
}

fn of(unit: &Unit<'_>, run: &Run) -> Vec<Finding> {
    let mut findings = Findings::default();
    run(unit, &mut findings);
    findings.into_sorted()
}
