//! The one statement that a command is about, and whether it may be worked with.

#[cfg(feature = "kafka")]
use anyhow::{Result, bail};
#[cfg(feature = "kafka")]
use velo_lint::Statement;
use velo_lint::{Lines, Severity, lint};

use crate::input::Input;
use crate::render::finding_text;

/// Prints the findings that make a file's settings unusable; whether there are any.
pub(crate) fn print_errors(input: &Input) -> bool {
    let lines = Lines::new(&input.text);
    let mut any = false;
    for finding in lint(&input.text, input.language) {
        if finding.severity == Severity::Error {
            any = true;
            anstream::eprintln!("{}\n", finding_text::text(input, &lines, &finding));
        }
    }
    any
}

/// The statement called `name`, or the only one that has a query.
#[cfg(feature = "kafka")]
pub(crate) fn select(input: &Input, name: Option<&str>) -> Result<Statement> {
    let statements = velo_lint::statements(&input.text, input.language);
    let name_of = |statement: &Statement| statement.name.as_ref().map(|name| name.text.clone());
    let mut candidates: Vec<_> = statements.into_iter().filter(|s| s.query.is_some()).collect();
    if let Some(wanted) = name {
        candidates.retain(|statement| name_of(statement).as_deref() == Some(wanted));
    }
    match (candidates.len(), name) {
        (1, _) => Ok(candidates.remove(0)),
        (0, Some(name)) => bail!("{}: no statement called '{name}' with a query", input.name),
        (0, None) => bail!("{}: no CREATE STREAM … AS SELECT … to run", input.name),
        (_, Some(name)) => bail!("{}: several statements are called '{name}'", input.name),
        (_, None) => {
            let names: Vec<_> = candidates.iter().filter_map(name_of).collect();
            bail!("{}: several statements; choose one with --statement: {}", input.name, names.join(", "))
        }
    }
}
