//! Findings of open texts: the texts that have changed in, their reports out.
//!
//! A configuration file is part of the statements that name it, wherever these are, so it is checked with all of them. A
//! text without such files is checked by its statements: only those that have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsp_types::Uri;
use velo_lint::{FileReport, Files, InTurn, Language, Source, Workspace};

use crate::documents::{Documents, Open};
use crate::host::Host;
use crate::links::{Links, text_of};

/// What was found in an open text.
pub(crate) struct Checked {
    /// The URI of the text.
    pub uri: Uri,
    pub report: FileReport,
}

/// Checks the open texts among files that may have changed, or that belong to such files.
pub(crate) fn check(
    changed: &BTreeSet<String>,
    links: &Links,
    host: &dyn Host,
    open: &mut Documents,
) -> Vec<Checked> {
    let (mut uris, mut reports) = (Vec::new(), Vec::new());
    let mut others = Vec::new();
    for text in open.iter_mut().filter(|text| changed.contains(&text.path)) {
        let report =
            if host.excludes(&text.name) { Some(nothing(text)) } else { by_statements(text, links, host) };
        match report {
            Some(report) => {
                uris.push(text.uri.clone());
                reports.push(report);
            }
            None => others.push(text.uri.clone()),
        }
    }
    // A file that is open twice, with different texts, is checked with each.
    let mut together: Vec<Vec<&Open>> = Vec::new();
    for text in others.iter().filter_map(|uri| open.get(uri)) {
        let is_other = |group: &&mut Vec<&Open>| group.iter().all(|known| known.path != text.path);
        match together.iter_mut().find(is_other) {
            Some(group) => group.push(text),
            None => together.push(vec![text]),
        }
    }
    for texts in together {
        for (text, report) in check_together(&texts, links, host, open) {
            uris.push(text.uri.clone());
            reports.push(report);
        }
    }
    host.accept(&mut reports);
    uris.into_iter().zip(reports).map(|(uri, report)| Checked { uri, report }).collect()
}

/// Checks the statements of a text that have changed; `None` if they have to be checked together with others.
fn by_statements(text: &mut Open, links: &Links, host: &dyn Host) -> Option<FileReport> {
    if text.language != Language::Sql || !links.is_alone(&text.path) {
        return None;
    }
    let options = Arc::new(host.settings(&text.name).options);
    let found = text.pieces.check(&text.text, &options)?;
    Some(FileReport { statements: found.statements, findings: found.findings, ..nothing(text) })
}

/// Checks texts of different files with everything that shares configuration files with them.
fn check_together<'o>(
    texts: &[&'o Open],
    links: &Links,
    host: &dyn Host,
    open: &Documents,
) -> Vec<(&'o Open, FileReport)> {
    let own = |path: &str| texts.iter().copied().find(|text| text.path == path);
    // What is found in a configuration file depends on all that name it.
    let namers = texts.iter().flat_map(|text| links.namers(&text.path).map(str::to_owned));
    let all: BTreeSet<_> = texts.iter().map(|text| text.path.clone()).chain(namers).collect();
    let source = |path: &String| {
        let (name, text, language) = match own(path) {
            Some(text) => (text.name.clone(), text.text.clone(), text.language),
            None => text_of(path, host, open)?,
        };
        (!host.excludes(&name)).then_some(Source { name, text, language })
    };
    let sources: Vec<_> = all.iter().filter_map(source).collect();
    let files = open.over_but(host.files(), texts);
    let reports = in_workspace(host, &files, |workspace| workspace.check(&sources));
    let mut found: BTreeMap<_, _> =
        reports.into_iter().map(|report| (files.canonical(&report.name), report)).collect();
    // Others are complete only together with what shares files with them.
    texts.iter().map(|text| (*text, found.remove(&text.path).unwrap_or_else(|| nothing(text)))).collect()
}

/// Runs something on the files of the host, with the settings of each.
pub(crate) fn in_workspace<R>(
    host: &dyn Host,
    files: &(dyn Files + Sync),
    run: impl FnOnce(&Workspace<'_, InTurn>) -> R,
) -> R {
    let options = |path: &str| Arc::new(host.settings(path).options);
    let excludes = |path: &str| host.excludes(path);
    run(&Workspace { files, options: &options, excludes: &excludes, each: InTurn })
}

/// A report without findings.
pub(crate) fn nothing(text: &Open) -> FileReport {
    FileReport {
        name: text.name.clone(),
        text: text.text.clone(),
        language: text.language,
        statements: Vec::new(),
        parts: Vec::new(),
        findings: Vec::new(),
    }
}
