//! Findings of open texts: the texts that have changed in, their reports out.
//!
//! A configuration file is part of the statements that name it, wherever these are, so it is checked with all of them. A
//! text without such files is checked by its statements: only those that have changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use velo_lint::{FileReport, Files, InTurn, Language, Options, Source, Workspace};

use crate::documents::{Documents, Open};
use crate::host::Host;
use crate::links::{Links, text_of};

/// What was found in an open file.
pub(crate) struct Checked {
    /// The path of the file.
    pub path: String,
    pub report: FileReport,
}

/// Checks the open texts among files that may have changed, or that belong to such files.
pub(crate) fn check(
    changed: &BTreeSet<String>,
    links: &Links,
    host: &dyn Host,
    open: &mut Documents,
) -> Vec<Checked> {
    let mut checked = Vec::new();
    let mut together = BTreeSet::new();
    for text in open.iter_mut().filter(|text| changed.contains(&text.path)) {
        if host.excludes(&text.name) {
            checked.push(Checked { path: text.path.clone(), report: nothing(text) });
        } else if let Some(report) = by_statements(text, links, host) {
            checked.push(Checked { path: text.path.clone(), report });
        } else {
            together.insert(text.path.clone());
        }
    }
    if !together.is_empty() {
        checked.extend(check_together(&together, links, host, open));
    }
    let (paths, mut reports): (Vec<_>, Vec<_>) =
        checked.into_iter().map(|Checked { path, report }| (path, report)).unzip();
    host.accept(&mut reports);
    paths.into_iter().zip(reports).map(|(path, report)| Checked { path, report }).collect()
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

/// Checks texts with everything that shares configuration files with them.
fn check_together(
    paths: &BTreeSet<String>,
    links: &Links,
    host: &dyn Host,
    open: &Documents,
) -> Vec<Checked> {
    // What is found in a configuration file depends on all that name it.
    let namers = paths.iter().flat_map(|path| links.namers(path).map(str::to_owned));
    let all: BTreeSet<_> = paths.iter().cloned().chain(namers).collect();
    let source = |path: &String| {
        let (name, text, language) = text_of(path, host, open)?;
        (!host.excludes(&name)).then_some(Source { name, text, language })
    };
    let sources: Vec<_> = all.iter().filter_map(source).collect();
    let options = |path: &str| Arc::new(host.settings(path).options);
    let files = open.over(host.files());
    let workspace = Workspace {
        files: &files,
        options: &options as &(dyn Fn(&str) -> Arc<Options> + Sync),
        excludes: &|path: &str| host.excludes(path),
        each: InTurn,
    };
    let reports = workspace.check(&sources).into_iter();
    let mut found: Vec<_> =
        reports.map(|report| Checked { path: files.canonical(&report.name), report }).collect();
    // Others are complete only together with what shares files with them.
    found.retain(|checked| paths.contains(&checked.path));
    for path in paths {
        if !found.iter().any(|checked| checked.path == *path) {
            found.extend(open.at(path).map(|text| Checked { path: path.clone(), report: nothing(text) }));
        }
    }
    found
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
