//! The files that a statement names with `config_file`, without a file system of our own.

use rustc_hash::FxHashMap as HashMap;

/// Gives the files that a text names. Editors and browsers have their own; so has the command line.
pub trait Files {
    /// The file that the text called `from` names as `path`, which is relative.
    ///
    /// # Errors
    /// Why there is none.
    fn read(&self, from: &str, path: &str) -> Result<File, FileError>;

    /// Returns the one name of a file that may have several.
    fn canonical(&self, name: &str) -> String {
        name.to_owned()
    }
}

/// A file's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The name to report.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// Why a file cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Nobody looks; the reference says nothing then.
    #[error("only files of this machine are read")]
    NotLooked,
    /// It is not there.
    #[error("there is no such file")]
    NotFound,
    /// It is there and cannot be read as a text.
    #[error("{0}")]
    Unreadable(String),
}

/// No files at all: every reference is left alone.
#[derive(Debug, Clone, Copy)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str, _: &str) -> Result<File, FileError> {
        Err(FileError::NotLooked)
    }
}

/// Files of which some have other texts: those that an editor has open, or that fixes have changed.
pub struct Overlay<'a> {
    files: &'a (dyn Files + Sync),
    /// The texts by the canonical names of their files.
    texts: HashMap<String, &'a str>,
}

impl<'a> Overlay<'a> {
    /// Puts texts in the place of those of the files of these names.
    #[must_use]
    pub fn new(files: &'a (dyn Files + Sync), texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let texts = texts.into_iter().map(|(name, text)| (files.canonical(name), text)).collect();
        Self { files, texts }
    }

    /// The same, for names that are canonical.
    #[must_use]
    pub fn of_canonical(
        files: &'a (dyn Files + Sync),
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let texts = texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        Self { files, texts }
    }
}

impl std::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("texts", &self.texts).finish_non_exhaustive()
    }
}

impl Files for Overlay<'_> {
    fn read(&self, from: &str, path: &str) -> Result<File, FileError> {
        let mut file = self.files.read(from, path)?;
        if !self.texts.is_empty()
            && let Some(text) = self.texts.get(&self.files.canonical(&file.name))
        {
            (*text).clone_into(&mut file.text);
        }
        Ok(file)
    }

    fn canonical(&self, name: &str) -> String {
        self.files.canonical(name)
    }
}
