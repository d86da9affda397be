//! Code actions: each fix and each alternative of a finding, a comment that allows it, and all safe fixes together.

use std::collections::HashMap;
use std::ops::Range;

use lsp_types::{CodeAction, CodeActionKind, CodeActionResponse, TextEdit, WorkspaceEdit};
use velo_lint::allow::allowed;
use velo_lint::fix::apply;
use velo_lint::{FileReport, Finding, Fix};

use super::View;

/// Returns the actions for a range. `only` are the kinds that the client asks for; none means all.
pub(crate) fn actions(
    view: &View<'_>,
    range: &Range<usize>,
    only: &[CodeActionKind],
) -> Vec<CodeActionResponse> {
    let wants = |kind: CodeActionKind| only.is_empty() || only.iter().any(|wanted| is_of_kind(&kind, wanted));
    let touches = |finding: &&Finding| finding.span.start <= range.end && range.start <= finding.span.end;
    let mut actions = Vec::new();
    if wants(CodeActionKind::QuickFix) {
        for finding in view.report.findings.iter().filter(touches) {
            actions.extend(fixes(view, finding));
            actions.extend(allow(view, finding));
        }
    }
    if wants(CodeActionKind::SourceFixAll) {
        actions.extend(fix_all(view));
    }
    actions.into_iter().map(CodeActionResponse::CodeAction).collect()
}

/// True if `kind` is `wanted` or a kind of it: `source.fixAll` is one of `source`.
fn is_of_kind(kind: &CodeActionKind, wanted: &CodeActionKind) -> bool {
    let name = |kind: &CodeActionKind| {
        serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned))
    };
    let (Some(kind), Some(wanted)) = (name(kind), name(wanted)) else { return false };
    kind == wanted
        || wanted.is_empty()
        || kind.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with('.'))
}

fn fixes<'a>(view: &'a View<'_>, finding: &'a Finding) -> impl Iterator<Item = CodeAction> + 'a {
    let places = view.open.places(view.encoding);
    finding.fix.iter().chain(&finding.alternatives).map(move |fix| {
        let edits = fix.edits.iter().map(|edit| places.edit(edit)).collect();
        let mut action = action(view, title(view, fix), CodeActionKind::QuickFix, edits);
        action.diagnostics = Some(vec![places.diagnostic(finding)]);
        // If there are several ways, none is preferred.
        action.is_preferred = Some(fix.safe && finding.fix.as_ref() == Some(fix));
        action
    })
}

fn title(view: &View<'_>, fix: &Fix) -> String {
    let Some(edit) = fix.edits.first() else { return "Fix".to_owned() };
    let (old, new) = (view.open.text[edit.span.clone()].trim(), edit.text.trim());
    let what = match (old.is_empty(), new.is_empty()) {
        (true, _) => format!("Insert {new}"),
        (false, true) => format!("Remove {old}"),
        (false, false) => format!("Write {new}"),
    };
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    if fix.safe { what } else { format!("{what} (may change behaviour)") }
}

/// Allows the rule of a finding with a comment before its line.
fn allow(view: &View<'_>, finding: &Finding) -> Option<CodeAction> {
    let alone = FileReport { findings: vec![finding.clone()], ..view.report.clone() };
    let after = allowed(&alone, "reason")?;
    let places = view.open.places(view.encoding);
    let start = view.open.lines.line_start(finding.span.start);
    let comment = &after[start..start + (after.len() - view.open.text.len())];
    let edit = TextEdit { range: places.range(&(start..start)), new_text: comment.to_owned() };
    let title = format!("Allow {} here", finding.rule);
    let mut action = action(view, title, CodeActionKind::QuickFix, vec![edit]);
    action.diagnostics = Some(vec![places.diagnostic(finding)]);
    Some(action)
}

/// Applies all safe fixes at once.
fn fix_all(view: &View<'_>) -> Option<CodeAction> {
    let fixed = apply(&view.open.text, &view.report.findings, false);
    if fixed.applied == 0 {
        return None;
    }
    let whole = view.open.places(view.encoding).range(&(0..view.open.text.len()));
    let edit = TextEdit { range: whole, new_text: fixed.text };
    Some(action(view, "Apply all safe fixes".to_owned(), CodeActionKind::SourceFixAll, vec![edit]))
}

fn action(view: &View<'_>, title: String, kind: CodeActionKind, edits: Vec<TextEdit>) -> CodeAction {
    let changes = HashMap::from([(view.open.uri.clone(), edits)]);
    CodeAction {
        title,
        kind: Some(kind),
        diagnostics: None,
        is_preferred: None,
        disabled: None,
        edit: Some(WorkspaceEdit {
            changes: Some(changes),
            document_changes: None,
            change_annotations: None,
        }),
        command: None,
        data: None,
        tags: None,
    }
}
