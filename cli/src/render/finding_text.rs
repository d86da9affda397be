//! Findings for people: the message, and the source with the place marked.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use velo_lint::message::message;
use velo_lint::{Finding, Lines, Severity};

use crate::input::Input;

pub(crate) fn text(input: &Input, lines: &Lines<'_>, finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(message(&finding.detail)).id(finding.rule);
    let Some(shown) = shown(&input.text, &finding.span) else {
        let place = lines.position(finding.span.start);
        let title = Renderer::styled().render(&[Group::with_title(title)]);
        return format!("{title}\n --> {}:{}:{}", input.name, place.line, place.column);
    };
    let within = |at: usize| at - shown.start;
    let span = within(finding.span.start)..within(finding.span.end);
    let snippet = Snippet::source(&input.text[shown.clone()])
        .line_start(lines.position(shown.start).line)
        .path(&input.name)
        .annotation(AnnotationKind::Primary.span(span));
    Renderer::styled().render(&[title.element(snippet)])
}

/// The lines that a span lies in; `None` where it begins too far into its line to be looked at.
fn shown(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    const AROUND: usize = 200;
    const TOO_FAR: usize = 1000;
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at);
    // Cutting the front would shift the columns; only the tail is cut.
    let end = text.floor_char_boundary(end.min(span.end + AROUND));
    (span.start - start <= TOO_FAR).then_some(start..end)
}
