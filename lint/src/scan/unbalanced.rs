//! Quotes without a partner in; each as a fault of the clause that is next to it out.

use super::{Clause, Fault, FaultKind, Statement};

/// Adds the quotes at `quotes`, which are in order, to the clauses of `statements`: each to the first
/// clause behind it, or to the last one.
pub(super) fn add(statements: &mut [Statement], quotes: &[usize]) {
    let mut quotes = quotes.iter().copied().peekable();
    let mut clauses = statements.iter_mut().flat_map(|statement| &mut statement.clauses).peekable();
    while let Some(clause) = clauses.next() {
        let is_last = clauses.peek().is_none();
        while let Some(at) = quotes.next_if(|at| is_last || *at < clause.span.start) {
            report(clause, at);
        }
    }
}

fn report(clause: &mut Clause, at: usize) {
    clause.faults.push(Fault::new(FaultKind::UnterminatedString, at..at + 1, None));
}
