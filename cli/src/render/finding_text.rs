//! Findings for people: the message, and the source with the place marked.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use velo_lint::message::message;
use velo_lint::{Finding, Lines, Severity};

use crate::input::Input;

pub(crate) fn text(input: &Input, lines: &Lines<'_>, finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let shown = shown(&input.text, &finding.span);
    let within = |at: usize| at - shown.start;
    let span = within(finding.span.start)..within(finding.span.end);
    let snippet = Snippet::source(&input.text[shown.clone()])
        .line_start(lines.position(shown.start).line)
        .path(&input.name)
        .annotation(AnnotationKind::Primary.span(span));
    let message = message(&finding.detail);
    let report = [level.primary_title(message).id(finding.rule).element(snippet)];
    Renderer::styled().render(&report)
}

/// The lines that a span lies in, but not more of a very long line than one wants to see.
fn shown(text: &str, span: &Range<usize>) -> Range<usize> {
    const AROUND: usize = 200;
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at);
    // Cutting the front would shift the columns; only the tail is cut.
    let end = text.floor_char_boundary(end.min(span.end + AROUND));
    start..end
}
