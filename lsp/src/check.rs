//! Findings of open texts: what has changed in, the reports of all files that are affected out.
//!
//! A configuration file is part of the statements that name it, wherever these are, so a change in one of them means
//! that all are checked together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use velo_lint::{Document, FileReport, Files, InTurn, Language, Options, Source, Workspace};

use crate::documents::Documents;
use crate::host::Host;

/// The configuration files that texts with statements name, by path.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Named>);

/// The configuration files that a text names.
#[derive(Debug, Default)]
struct Named {
    /// The paths of those that are there.
    found: BTreeSet<String>,
    /// The others, as the text has them.
    missing: BTreeSet<String>,
}

impl Named {
    fn is_empty(&self) -> bool {
        self.found.is_empty() && self.missing.is_empty()
    }

    /// Returns true if the file of this path is one of them, or may be one now that it is there.
    fn has(&self, path: &str) -> bool {
        self.found.contains(path) || self.missing.iter().any(|written| Path::new(path).ends_with(written))
    }
}

impl Names {
    /// Reads the files with statements below these folders.
    pub(crate) fn read(folders: &[String], host: &dyn Host, open: &Documents) -> Self {
        let mut names = Self::default();
        for path in folders.iter().flat_map(|folder| host.statements_below(folder)) {
            names.read_one(&path, host, open);
        }
        for path in open.0.keys() {
            names.read_one(path, host, open);
        }
        names
    }

    /// Notes what a text names that may have changed, and what others name that name it.
    pub(crate) fn update(&mut self, path: &str, host: &dyn Host, open: &Documents) {
        let others = self.0.iter().filter(|(_, named)| named.has(path)).map(|(other, _)| other.clone());
        for path in others.chain([path.to_owned()]).collect::<BTreeSet<_>>() {
            self.read_one(&path, host, open);
        }
    }

    fn read_one(&mut self, path: &str, host: &dyn Host, open: &Documents) {
        self.0.remove(path);
        let Some((text, language)) = text_of(path, host, open) else { return };
        // Most texts name no file.
        if language == Language::Yaml || !text.contains("config_file") {
            return;
        }
        let files = open.over(host.files());
        let document = Document::read(path, &text, language, &files);
        let found = (1..document.texts()).map(|n| files.canonical(document.name(n))).collect();
        let named = Named { found, missing: document.missing().map(str::to_owned).collect() };
        if !named.is_empty() {
            self.0.insert(path.to_owned(), named);
        }
    }

    /// Returns the texts to check if these have changed: they themselves, and all texts with which they share files.
    fn affected(&self, changed: &BTreeSet<String>) -> BTreeSet<String> {
        let mut affected = changed.clone();
        loop {
            let before = affected.len();
            for (path, named) in &self.0 {
                if affected.contains(path) || affected.iter().any(|file| named.has(file)) {
                    affected.insert(path.clone());
                    affected.extend(named.found.iter().cloned());
                }
            }
            if affected.len() == before {
                return affected;
            }
        }
    }
}

/// Returns the text of a file as the client has it, otherwise as it is on disk, with its language.
fn text_of(path: &str, host: &dyn Host, open: &Documents) -> Option<(String, Language)> {
    if let Some(open) = open.0.get(path) {
        return Some((open.text.clone(), open.language));
    }
    Some((host.read(path)?, host.language(path).unwrap_or(Language::Sql)))
}

/// Checks the texts that a change of some affects. The reports have the names of their files.
pub(crate) fn check(
    changed: &BTreeSet<String>,
    names: &Names,
    host: &dyn Host,
    open: &Documents,
) -> Vec<FileReport> {
    let source = |path: &String| {
        let (text, language) = text_of(path, host, open).filter(|_| !host.excludes(path))?;
        Some(Source { name: path.clone(), text, language })
    };
    let sources: Vec<_> = names.affected(changed).iter().filter_map(source).collect();
    let options = |path: &str| Arc::new(host.settings(path).options);
    let files = open.over(host.files());
    Workspace {
        files: &files,
        options: &options as &(dyn Fn(&str) -> Arc<Options> + Sync),
        excludes: &|path: &str| host.excludes(path),
        each: InTurn,
    }
    .check(&sources)
}
