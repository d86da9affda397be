//! Which configuration files the statements of which texts name: texts in, what belongs together out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use velo_lint::ownership::CONFIG_FILE;
use velo_lint::{Document, Files, Language};

use crate::documents::Documents;
use crate::host::Host;

/// The configuration files that texts with statements name, by the paths of these texts.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeMap<String, Named>);

/// The configuration files that a text names.
#[derive(Debug, Default)]
struct Named {
    /// The paths of those that were read.
    read: BTreeSet<String>,
    /// The ends of the paths of the others, which are not there or cannot be used.
    unread: BTreeSet<PathBuf>,
}

impl Named {
    /// Returns true if the file of this path is one of them, or may be one.
    fn has(&self, path: &str) -> bool {
        self.read.contains(path) || self.unread.iter().any(|end| Path::new(path).ends_with(end))
    }
}

impl Links {
    /// Reads the files with statements below these folders, and the open texts.
    pub(crate) fn read(folders: &[String], host: &dyn Host, open: &Documents) -> Self {
        let mut links = Self::default();
        let below = folders.iter().flat_map(|folder| host.statements_below(folder));
        for path in below.chain(open.iter().map(|open| open.path.clone())) {
            links.read_one(&path, host, open);
        }
        links
    }

    /// Notes what a text names that may have changed, and what others name that name it.
    pub(crate) fn update(&mut self, path: &str, host: &dyn Host, open: &Documents) {
        let others: Vec<_> = self.namers(path).map(str::to_owned).collect();
        for path in others.iter().map(String::as_str).chain([path]) {
            self.read_one(path, host, open);
        }
    }

    fn read_one(&mut self, path: &str, host: &dyn Host, open: &Documents) {
        self.0.remove(path);
        let language = open.at(path).map(|open| open.language).or_else(|| host.language(path));
        if !matches!(language, Some(Language::Sql | Language::Markdown)) {
            return;
        }
        let Some((name, text, language)) = text_of(path, host, open) else { return };
        // Most texts name no file.
        if !text.contains(CONFIG_FILE) {
            return;
        }
        let files = open.over(host.files());
        let document = Document::read(&name, &text, language, &files);
        let read = (1..document.texts()).map(|n| files.canonical(document.name(n))).collect();
        let named = Named { read, unread: document.unread().map(end).collect() };
        if !(named.read.is_empty() && named.unread.is_empty()) {
            self.0.insert(path.to_owned(), named);
        }
    }

    /// Returns the texts whose statements name a file.
    pub(crate) fn namers(&self, path: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(_, named)| named.has(path)).map(|(namer, _)| namer.as_str())
    }

    /// Returns the files whose findings may be others if this one has changed, the file itself included: what it names,
    /// what names it, and what that names.
    pub(crate) fn related(&self, path: &str) -> BTreeSet<String> {
        let mut related = BTreeSet::from([path.to_owned()]);
        for namer in self.namers(path).chain([path]) {
            related.insert(namer.to_owned());
            related.extend(self.0.get(namer).into_iter().flat_map(|named| named.read.iter().cloned()));
        }
        related
    }

    /// Returns true if a text names no file.
    pub(crate) fn is_alone(&self, path: &str) -> bool {
        !self.0.contains_key(path)
    }

    /// Returns the configuration files that were read, and the places where the others may appear.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        for (namer, named) in &self.0 {
            files.extend(named.read.iter().cloned());
            for end in &named.unread {
                let folders = Path::new(namer).ancestors().skip(1);
                files.extend(folders.map(|folder| folder.join(end).to_string_lossy().into_owned()));
            }
        }
        files
    }
}

/// Returns a path without what leads up, so that the path of a file ends with it.
fn end(written: &str) -> PathBuf {
    let parts = Path::new(written).components();
    parts.filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Returns the name, the text and the language of a file: as the client has it, otherwise as it is on disk.
pub(crate) fn text_of(path: &str, host: &dyn Host, open: &Documents) -> Option<(String, String, Language)> {
    if let Some(open) = open.at(path) {
        return Some((open.name.clone(), open.text.clone(), open.language));
    }
    Some((path.to_owned(), host.read(path)?, host.language(path).unwrap_or(Language::Sql)))
}
