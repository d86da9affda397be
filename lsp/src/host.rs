//! Where a server runs: the files of a machine and the settings of their projects.

use velo_lint::{FileReport, FileSettings, Files, Language};

/// Where a server runs. Files are given by their absolute paths.
pub trait Host: Sync {
    /// Sets the folders that the client has open.
    fn open_folders(&mut self, folders: &[String]);

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

    /// Returns the folder of a file's project.
    fn root(&self, path: &str) -> Option<String>;

    /// Removes the findings that the baselines of their projects accept.
    fn accept(&self, reports: &mut [FileReport]);

    /// Returns the files that settings were read from, and those that would be if they were there.
    fn settings_files(&self) -> Vec<String>;

    /// Returns a number that changes with a file: with its time and size, and with whether it is there.
    fn stamp(&self, path: &str) -> u64;

    /// Forgets what is known of settings, because a settings file has changed.
    fn reload(&mut self);

    /// Returns the first error in a settings file or a baseline since the last call.
    fn error(&self) -> Option<String>;
}
