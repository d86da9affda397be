//! Code actions: each fix and each alternative of a finding, a comment that allows it, and all safe fixes together.

use std::ops::Range;

use lsp_types::{CodeAction, CodeActionKind, CodeActionResponse, TextEdit};
use similar::{ChangeTag, TextDiff};
use velo_lint::allow::comment_for;
use velo_lint::{Edit, Files, Finding, Fix, Source};

use super::view::View;
use crate::capabilities::{Feature, fix_all_kind};
use crate::check::in_workspace;
use crate::convert::{Edits, workspace_edit};
use crate::links::text_of;

/// For how many findings of a range there are actions. Editors ask for the whole text if all of it is selected.
const MOST_FINDINGS: usize = 20;

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
        for finding in view.report.findings.iter().filter(touches).take(MOST_FINDINGS) {
            actions.extend(fixes(view, finding));
            actions.extend(allow(view, finding));
        }
    }
    if wants(fix_all_kind()) {
        actions.extend(fix_all(view));
    }
    actions.into_iter().map(CodeActionResponse::CodeAction).collect()
}

/// True if `kind` is `wanted` or a kind of it: `source.fixAll` is one of `source`.
fn is_of_kind(kind: &CodeActionKind, wanted: &CodeActionKind) -> bool {
    let (kind, wanted) = (String::from(kind.clone()), String::from(wanted.clone()));
    kind == wanted
        || wanted.is_empty()
        || kind.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with('.'))
}

fn fixes<'a>(view: &'a View<'_>, finding: &'a Finding) -> impl Iterator<Item = CodeAction> + 'a {
    finding.fix.iter().chain(&finding.alternatives).map(move |fix| {
        let mut action = action(view, title(view, fix), CodeActionKind::QuickFix, &fix.edits);
        action.diagnostics = Some(vec![view.places().diagnostic(finding)]);
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
    let (at, text) = comment_for(view.report, finding, "reason")?;
    let title = format!("Allow {} here", finding.rule);
    let mut action = action(view, title, CodeActionKind::QuickFix, &[Edit { span: at..at, text }]);
    action.diagnostics = Some(vec![view.places().diagnostic(finding)]);
    Some(action)
}

/// Applies all safe fixes to the text until nothing is left to fix.
fn fix_all(view: &View<'_>) -> Option<CodeAction> {
    if !view.report.findings.iter().any(|finding| finding.fix.as_ref().is_some_and(|fix| fix.safe)) {
        return None;
    }
    let state = view.state;
    let files = state.open.over(state.host.files());
    // A configuration file is fixed as a part of what names it.
    let paths = state.links.namers(&view.open.path).chain([view.open.path.as_str()]);
    let texts = paths.filter_map(|path| text_of(path, state.host, state.open));
    let sources: Vec<_> = texts.map(|(name, text, language)| Source { name, text, language }).collect();
    let (changes, _) = in_workspace(state.host, &files, |workspace| workspace.fix(sources, false));
    let change = changes.into_iter().find(|change| files.canonical(&change.name) == view.open.path)?;
    let edits = difference(&change.before, &change.after);
    Some(action(view, "Apply all safe fixes of velo".to_owned(), fix_all_kind(), &edits))
}

/// The lines to replace so that one text becomes another.
fn difference(before: &str, after: &str) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut at = 0;
    for change in TextDiff::from_lines(before, after).iter_all_changes() {
        let line = change.value();
        if change.tag() == ChangeTag::Equal {
            at += line.len();
            continue;
        }
        if edits.last().is_none_or(|edit| edit.span.end < at) {
            edits.push(Edit { span: at..at, text: String::new() });
        }
        let Some(edit) = edits.last_mut() else { continue };
        if change.tag() == ChangeTag::Delete {
            at += line.len();
            edit.span.end = at;
        } else {
            edit.text += line;
        }
    }
    edits
}

fn action(view: &View<'_>, title: String, kind: CodeActionKind, edits: &[Edit]) -> CodeAction {
    let places = view.places();
    let changes: Vec<TextEdit> = edits.iter().map(|edit| places.edit(edit)).collect();
    let (uri, version) = (view.open.uri.clone(), Some(view.open.version));
    let edit =
        workspace_edit(vec![Edits { uri, version, changes }], view.state.client.has(Feature::VersionedEdits));
    CodeAction {
        title,
        kind: Some(kind),
        diagnostics: None,
        is_preferred: None,
        disabled: None,
        edit: Some(edit),
        command: None,
        data: None,
        tags: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_differ_are_replaced() {
        let edits = difference("a\nb\nc\nd", "a\nB\nc\nd\ne");
        let edits: Vec<_> = edits.into_iter().map(|edit| (edit.span, edit.text)).collect();
        assert_eq!(edits, [(2..4, "B\n".to_owned()), (6..7, "d\ne".to_owned())]);
        assert_eq!(difference("a\n", "a\n"), []);
    }
}
