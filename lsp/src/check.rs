//! Findings of open texts: what has changed in, the reports of all files that are affected out.
//!
//! A configuration file is part of the statements that name it, wherever these are, so a change in one of them means
//! that all are checked together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use velo_lint::{Document, FileReport, InTurn, Language, Options, Source, Workspace};

use crate::documents::{Documents, Overlay};
use crate::host::Host;

/// The configuration files that each file with statements names, by path.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, BTreeSet<String>>);

impl Names {
    /// Reads the files with statements below these folders.
    pub(crate) fn read(folders: &[String], host: &dyn Host, open: &Documents) -> Self {
        let mut names = Self::default();
        for path in folders.iter().flat_map(|folder| host.statements_below(folder)) {
            let text = open.0.get(&path).map(|open| open.text.clone()).or_else(|| host.read(&path));
            if let Some(text) = text {
                names.update(&path, &text, host, open);
            }
        }
        names
    }

    /// Notes what a text names.
    pub(crate) fn update(&mut self, path: &str, text: &str, host: &dyn Host, open: &Documents) {
        self.0.remove(path);
        // Most texts name no file.
        let Some(language) = host.language(path).filter(|language| *language != Language::Yaml) else {
            return;
        };
        if !text.contains("config_file") {
            return;
        }
        let document = Document::read(path, text, language, &Overlay { files: host.files(), open });
        let named: BTreeSet<_> = (1..document.texts()).map(|n| document.name(n).to_owned()).collect();
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
                let shares = affected.contains(path) || named.iter().any(|file| affected.contains(file));
                if shares {
                    affected.insert(path.clone());
                    affected.extend(named.iter().cloned());
                }
            }
            if affected.len() == before {
                return affected;
            }
        }
    }
}

/// Checks the texts that a change of some affects. The reports have the names of their files.
pub(crate) fn check(
    changed: &BTreeSet<String>,
    names: &Names,
    host: &dyn Host,
    open: &Documents,
) -> Vec<FileReport> {
    let source = |path: &String| {
        if host.excludes(path) {
            return None;
        }
        let known = open.0.get(path).map(|open| (open.text.clone(), open.language));
        let (text, language) =
            known.or_else(|| Some((host.read(path)?, host.language(path).unwrap_or(Language::Sql))))?;
        Some(Source { name: path.clone(), text, language })
    };
    let sources: Vec<_> = names.affected(changed).iter().filter_map(source).collect();
    let options = |path: &str| Arc::new(host.settings(path).options);
    let files = Overlay { files: host.files(), open };
    Workspace {
        files: &files,
        options: &options as &(dyn Fn(&str) -> Arc<Options> + Sync),
        excludes: &|path: &str| host.excludes(path),
        each: InTurn,
    }
    .check(&sources)
}
