//! `config-file`: a configuration file that is not there.

use serde::Serialize;

use crate::files::FileError;
use crate::rule::{Found, Rule};
use crate::severity::Severity;
use crate::wording::one_line;

/// A `config_file` that cannot be found or read.
pub const RULE: Rule = Rule {
    id: "config-file",
    severity: Severity::Warning,
    summary: "A `config_file` that cannot be found or read.",
    why: "Its settings are not checked. If the file is missing at run time, its settings do not apply either. Relative paths are resolved against the directory of the file that contains the path, then against each directory above it. Absolute paths are not checked.",
    example: "WITH ('config_file' = 'conf/orders.yaml', 'batch.size' = '500')",
    better: "WITH ('config_file' = 'configs/orders.yaml', 'batch.timeout' = '5s')",
    check: |unit, out| {
        for lost in unit.lost.iter().filter(|lost| lost.error != FileError::NotLooked) {
            let detail = LostFile { path: lost.path.clone(), error: lost.error.to_string() };
            out.add(&RULE, lost.span.clone(), detail);
        }
    },
};

/// A file that a statement names and that cannot be had.
#[derive(Debug, Serialize)]
struct LostFile {
    /// The path as written.
    path: String,
    /// Why.
    error: String,
}

impl Found for LostFile {
    fn message(&self) -> String {
        let Self { path, error } = self;
        format!("'{}' cannot be checked: {error}", one_line(path))
    }
}
