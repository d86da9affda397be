//! Findings for people: the message, the source with the place marked, and the fix.

use std::io::{Result, Write};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use velo_lint::{FileReport, Finding, Fix, LineIndex, Severity};

use crate::format::{Format, Output};

/// The format.
pub const FORMAT: Format =
    Format { name: "text", about: "the message, the source and the fix, for people", print };

fn print(out: &mut dyn Write, reports: &[FileReport], output: &Output) -> Result<()> {
    let renderer = if output.has_colors { Renderer::styled() } else { Renderer::plain() };
    for report in reports {
        let lines = LineIndex::new(&report.text);
        for finding in &report.findings {
            writeln!(out, "{}\n", render(&renderer, &report.name, &report.text, &lines, finding))?;
        }
    }
    Ok(())
}

/// Returns a finding with colours. `file` is the name and `source` the text that its span counts in.
#[must_use]
pub fn text(file: &str, source: &str, lines: &LineIndex, finding: &Finding) -> String {
    render(&Renderer::styled(), file, source, lines, finding)
}

fn render(renderer: &Renderer, file: &str, source: &str, lines: &LineIndex, finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(&finding.message).id(finding.rule);
    let help = help(source, finding);
    let Some(shown) = shown(source, lines, &finding.span) else {
        let place = lines.position(finding.span.start);
        let mut group = Group::with_title(title);
        if let Some(help) = help {
            group = group.element(Level::HELP.message(help));
        }
        let title = renderer.render(&[group]);
        return format!("{title}\n --> {file}:{}:{}", place.line, place.column);
    };
    let within = |at: usize| at - shown.start;
    let span = within(finding.span.start)..within(finding.span.end);
    let snippet = Snippet::source(&source[shown.clone()])
        .line_start(lines.position(shown.start).line)
        .path(file)
        .annotation(AnnotationKind::Primary.span(span));
    let mut group = title.element(snippet);
    if let Some(help) = help {
        group = group.element(Level::HELP.message(help));
    }
    renderer.render(&[group])
}

/// The fix in words.
fn help(source: &str, finding: &Finding) -> Option<String> {
    let wording = |fix: &Fix| {
        let edit = fix.edits.first()?;
        let text = edit.text.trim();
        Some(match (edit.span.is_empty(), text.is_empty()) {
            (false, true) => format!("remove `{}`", one_line(&source[edit.span.clone()])),
            (true, _) => format!("insert `{text}`"),
            (false, false) => format!("write `{text}`"),
        })
    };
    if !finding.alternatives.is_empty() {
        let texts = finding.alternatives.iter().filter_map(|fix| fix.edits.first());
        let ways: Vec<_> = texts.map(|edit| format!("`{}`", edit.text)).collect();
        return Some(format!("write {}", ways.join(" or ")));
    }
    let fix = finding.fix.as_ref()?;
    let how = if fix.safe { "--fix" } else { "--fix --unsafe-fixes" };
    wording(fix).map(|wording| format!("{wording} ({how})"))
}

fn one_line(text: &str) -> String {
    const MOST: usize = 60;
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    let cut = line.floor_char_boundary(MOST);
    if cut < line.len() { format!("{}…", &line[..cut]) } else { line }
}

/// The lines that a span lies in; `None` where it begins too far into its line to be looked at.
fn shown(text: &str, lines: &LineIndex, span: &Range<usize>) -> Option<Range<usize>> {
    const AROUND: usize = 200;
    const TOO_FAR: usize = 1000;
    let start = lines.line_start(span.start);
    // Cutting the front would shift the columns; only the tail is cut.
    let most = text.floor_char_boundary(text.len().min(span.end + AROUND));
    let end = text[span.end..most].find('\n').map_or(most, |at| span.end + at);
    (span.start - start <= TOO_FAR).then_some(start..end)
}
