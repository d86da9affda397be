//! What a format is.

use std::io::{Result, Write};
use std::path::PathBuf;

use velo_lint::FileReport;

/// A format of findings.
#[derive(Debug)]
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub about: &'static str,
    /// Prints all reports.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub print: fn(&mut dyn Write, &[FileReport], &Output) -> Result<()>,
}

/// Where reports are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// True if colours are shown.
    pub has_colors: bool,
    /// The folder that the names of files are relative to.
    pub folder: PathBuf,
}
