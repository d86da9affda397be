//! Selects the statement that a command works on, and reports the errors that make it unusable.

use std::fmt::Write as _;

#[cfg(feature = "kafka")]
use anyhow::{Result, bail};
use velo_lint::{Document, Finding, LineIndex, Refusal, Source, Variables};
#[cfg(feature = "kafka")]
use velo_lint::{Route, Statement, Unit, refusals};

use crate::args::VarArgs;
use crate::input::Disk;

/// Parses a text and the files that its statements name. Placeholders are replaced from `--var`, then from the
/// environment.
pub(crate) fn document(input: &Source, vars: &VarArgs) -> Document {
    let environment = std::env::vars_os();
    let readable =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let variables: Variables = readable.chain(vars.vars.iter().cloned()).collect();
    Document::read_to_run(&input.name, &input.text, input.language, &Disk::default(), variables)
}

/// Prints the errors of a file, including suppressed ones. Returns true if there are any.
pub(crate) fn print_errors(document: &Document) -> bool {
    let errors = document.errors();
    print_findings(document, &errors);
    !errors.is_empty()
}

fn print_findings(document: &Document, findings: &[Finding]) {
    for finding in findings {
        let (name, text) = (document.name(finding.file), document.text(finding.file));
        anstream::eprintln!("{}\n", velo_report::text::text(name, text, &LineIndex::new(text), finding));
    }
}

/// Formats refusals, one per line, with their positions.
pub(crate) fn reasons(document: &Document, refusals: &[Refusal]) -> String {
    let mut lines = String::new();
    for Refusal { span, why } in refusals {
        let place = LineIndex::new(document.text(span.file)).position(span.range.start);
        let before = if lines.is_empty() { "" } else { "\n" };
        let _ = write!(lines, "{before}{}:{}:{}: {why}", document.name(span.file), place.line, place.column);
    }
    lines
}

/// Checks that a run executes the statement as written.
///
/// # Errors
/// If there is a reason to refuse the statement.
#[cfg(feature = "kafka")]
pub(crate) fn refuse(document: &Document, unit: &Unit<'_>, route: &Route) -> Result<()> {
    let refusals = refusals(unit, route);
    if refusals.is_empty() {
        return Ok(());
    }
    bail!("{}", reasons(document, &refusals))
}

/// Returns the index of the statement with this name, or of the only statement with a query.
///
/// # Errors
/// If no statement matches, or more than one.
#[cfg(feature = "kafka")]
pub(crate) fn select(document: &Document, name: Option<&str>) -> Result<usize> {
    let name_of = |statement: &Statement| statement.name.as_ref().map(|name| name.text.clone());
    let statements = document.statements().iter().enumerate();
    let mut candidates: Vec<_> = statements.filter(|(_, statement)| statement.query.is_some()).collect();
    if let Some(wanted) = name {
        // Names are case-insensitive; among names that differ only in case, an exact match is preferred.
        candidates
            .retain(|(_, statement)| name_of(statement).is_some_and(|own| own.eq_ignore_ascii_case(wanted)));
        let is_exact = |(_, statement): &(usize, &Statement)| name_of(statement).as_deref() == Some(wanted);
        if candidates.iter().any(is_exact) {
            candidates.retain(is_exact);
        }
    }
    let file = document.name(0);
    match (candidates.len(), name) {
        (1, _) => Ok(candidates[0].0),
        (0, Some(name)) => bail!("{file}: no statement with a query is named '{name}'"),
        (0, None) => {
            bail!("{file}: no statement with a query (CREATE STREAM … AS SELECT …, INSERT INTO … SELECT …)")
        }
        (_, Some(name)) => bail!("{file}: several statements are named '{name}'"),
        (_, None) => {
            let names: Vec<_> = candidates.iter().filter_map(|(_, statement)| name_of(statement)).collect();
            bail!("{file}: several statements; select one with --statement: {}", names.join(", "))
        }
    }
}
