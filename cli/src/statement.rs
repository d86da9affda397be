//! The one statement that a command is about, and whether it may be worked with.

#[cfg(feature = "kafka")]
use anyhow::{Result, bail};
#[cfg(feature = "kafka")]
use velo_lint::Statement;
use velo_lint::{Document, Lines, Options, Severity};

use crate::render::finding_text;

/// Prints the findings that make a file's settings unusable; whether there are any.
pub(crate) fn print_errors(document: &Document) -> bool {
    let mut any = false;
    for finding in document.check(&Options::default()) {
        if finding.severity == Severity::Error {
            any = true;
            let (name, text) = (document.name(finding.file), document.text(finding.file));
            anstream::eprintln!("{}\n", finding_text::text(name, text, &Lines::new(text), &finding));
        }
    }
    any
}

/// The number of the statement called `name`, or of the only one that has a query.
#[cfg(feature = "kafka")]
pub(crate) fn select(document: &Document, name: Option<&str>) -> Result<usize> {
    let name_of = |statement: &Statement| statement.name.as_ref().map(|name| name.text.clone());
    let statements = document.statements().iter().enumerate();
    let mut candidates: Vec<_> = statements.filter(|(_, statement)| statement.query.is_some()).collect();
    if let Some(wanted) = name {
        candidates.retain(|(_, statement)| name_of(statement).as_deref() == Some(wanted));
    }
    let file = document.name(0);
    match (candidates.len(), name) {
        (1, _) => Ok(candidates[0].0),
        (0, Some(name)) => bail!("{file}: no statement called '{name}' with a query"),
        (0, None) => bail!("{file}: no CREATE STREAM … AS SELECT … to run"),
        (_, Some(name)) => bail!("{file}: several statements are called '{name}'"),
        (_, None) => {
            let names: Vec<_> = candidates.iter().filter_map(|(_, statement)| name_of(statement)).collect();
            bail!("{file}: several statements; choose one with --statement: {}", names.join(", "))
        }
    }
}
