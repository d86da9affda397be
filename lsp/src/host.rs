//! Where a server runs: the files of a machine and the settings of their projects.

use velo_lint::{FileSettings, Files, Language};

/// Where a server runs. Files are given by their absolute paths.
pub trait Host: Sync {
    /// Returns the files on disk.
    fn files(&self) -> &(dyn Files + Sync);

    /// Returns the settings of a file.
    fn settings(&self, path: &str) -> FileSettings;

    /// Returns true if the project of a file excludes it.
    fn excludes(&self, path: &str) -> bool;

    /// Returns the language of a file by its name.
    fn language(&self, path: &str) -> Option<Language>;

    /// Returns the text of a file; `None` if it cannot be read as text.
    fn read(&self, path: &str) -> Option<String>;

    /// Returns the SQL and Markdown files below a folder, which may name configuration files.
    fn statements_below(&self, folder: &str) -> Vec<String>;

    /// Forgets what is known of settings, because a settings file has changed.
    fn reload(&mut self);

    /// Returns the first error in a settings file since the last call.
    fn error(&self) -> Option<String>;
}
