//! The guide's own clauses: each means what the guide says of it, and none has a finding.
//!
//! `fixtures/guide.md` holds them, each behind a line `<!-- plan: STRATEGY POLL TIER -->`.

use std::fs;
use std::path::Path;

use velo_lint::{Language, Severity, Unit, lint, statements};
use velo_schema::{Plan, Settings, Side};

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/guide.md");
    fs::read_to_string(path).expect("the guide's clauses")
}

#[test]
fn no_clause_of_the_guide_has_an_error_or_a_warning() {
    let findings = lint(&text(), Language::Markdown);
    let bad: Vec<_> = findings.iter().filter(|finding| finding.severity > Severity::Info).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn every_clause_of_the_guide_has_the_plan_that_the_guide_states() {
    let text = text();
    let expected: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("<!-- plan: ")?.strip_suffix(" -->"))
        .map(str::to_owned)
        .collect();
    let found: Vec<_> = statements(&text, Language::Markdown)
        .iter()
        .map(|statement| {
            let entries = Unit::new(&text, statement).entries();
            let plan = Plan::of(&Settings::resolve(&entries, Side::Source, None).config(), None);
            let strategy = plan.strategy.expect("the guide disables nothing");
            format!("{strategy} {} {}", plan.max_poll_records, plan.tier)
        })
        .collect();
    assert_eq!(expected.len(), 18);
    assert_eq!(found, expected);
}
