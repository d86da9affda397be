//! A baseline: the findings that a project has accepted. Reports in, the new findings out, and the entries that match
//! nothing any more.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fingerprint::fingerprints;
use crate::workspace::FileReport;

/// The version of the format.
const VERSION: u32 = 1;

/// The accepted findings of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The version of this format.
    pub version: u32,
    /// The accepted findings by file. The names of files are relative to the folder of the baseline.
    pub files: BTreeMap<String, Vec<Accepted>>,
}

/// An accepted finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The id of the rule.
    pub rule: String,
    /// The message when it was accepted. It is not compared.
    pub message: String,
    /// What identifies the finding when its line moves.
    pub fingerprint: String,
}

/// An entry of a baseline that matches nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The name of the file.
    pub file: String,
    /// The accepted finding.
    pub entry: Accepted,
}

/// Why a text is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It does not have the format.
    #[error("it is no baseline of velo lint: {0}")]
    Format(String),
    /// It has the format of another version.
    #[error("it has version {0}; this velo reads version {VERSION}")]
    Version(u32),
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// If it has another format, or another version of it.
    pub fn parse(text: &str) -> Result<Self, BaselineError> {
        let baseline: Self =
            serde_json::from_str(text).map_err(|error| BaselineError::Format(error.to_string()))?;
        if baseline.version == VERSION { Ok(baseline) } else { Err(BaselineError::Version(baseline.version)) }
    }

    /// Accepts all findings. `name` gives the name of a file relative to the folder of the baseline.
    #[must_use]
    pub fn of(reports: &[FileReport], name: impl Fn(&str) -> String) -> Self {
        let mut files = BTreeMap::new();
        for report in reports.iter().filter(|report| !report.findings.is_empty()) {
            let file = name(&report.name);
            let accepted = report.findings.iter().zip(fingerprints(report, &file));
            let accepted = accepted.map(|(finding, fingerprint)| Accepted {
                rule: finding.rule.to_owned(),
                message: finding.message.clone(),
                fingerprint,
            });
            files.insert(file, accepted.collect());
        }
        Self { version: VERSION, files }
    }

    /// Removes the accepted findings from the reports. Returns their number, and the entries for these files that match
    /// nothing.
    pub fn apply(mut self, reports: &mut [FileReport], name: impl Fn(&str) -> String) -> (usize, Vec<Stale>) {
        let (mut accepted, mut stale) = (0, Vec::new());
        for report in reports {
            let file = name(&report.name);
            let Some(mut entries) = self.files.remove(&file) else { continue };
            let mut fingerprints = fingerprints(report, &file).into_iter();
            report.findings.retain(|finding| {
                let fingerprint = fingerprints.next();
                let is_it = |entry: &Accepted| {
                    entry.rule == finding.rule && Some(&entry.fingerprint) == fingerprint.as_ref()
                };
                let known = entries.iter().position(is_it).map(|index| entries.remove(index));
                accepted += usize::from(known.is_some());
                known.is_none()
            });
            stale.extend(entries.into_iter().map(|entry| Stale { file: file.clone(), entry }));
        }
        (accepted, stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Language, lint};

    fn report(text: &str) -> FileReport {
        FileReport {
            name: "./a.sql".to_owned(),
            text: text.to_owned(),
            language: Language::Sql,
            statements: Vec::new(),
            parts: Vec::new(),
            findings: lint(text, Language::Sql),
        }
    }

    fn name(name: &str) -> String {
        name.trim_start_matches("./").to_owned()
    }

    /// A statement with one finding.
    const BAD: &str =
        "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '0', 'failure_strategy' = 'FailBatch');\n";

    #[test]
    fn accepted_findings_are_left_out_wherever_their_lines_move() {
        let baseline = Baseline::of(&[report(&BAD.repeat(2))], name);
        let text = serde_json::to_string(&baseline).expect("JSON");
        let baseline = Baseline::parse(&text).expect("a baseline");
        let mut moved = [report(&format!("-- a new line\n\n{}", BAD.repeat(2)))];
        assert_eq!(baseline.clone().apply(&mut moved, name), (2, Vec::new()));
        assert!(moved[0].findings.is_empty());
        // A third one is new.
        let mut more = [report(&BAD.repeat(3))];
        assert_eq!(baseline.clone().apply(&mut more, name).0, 2);
        assert_eq!(more[0].findings.len(), 1);
        // Of another rule or in another file it is not accepted.
        let mut other = [FileReport { name: "b.sql".to_owned(), ..report(BAD) }];
        assert_eq!(baseline.apply(&mut other, name).0, 0);
    }

    #[test]
    fn what_matches_nothing_is_stale() {
        let baseline = Baseline::of(&[report(&BAD.repeat(2))], name);
        let (accepted, stale) = baseline.apply(&mut [report(BAD)], name);
        assert_eq!((accepted, stale.len(), stale[0].file.as_str()), (1, 1, "a.sql"));
    }

    #[test]
    fn other_texts_are_refused() {
        let error = |text: &str| Baseline::parse(text).expect_err("no baseline").to_string();
        assert_eq!(error(r#"{"version": 2, "files": {}}"#), "it has version 2; this velo reads version 1");
        assert!(error("[]").contains("no baseline of velo lint"));
    }
}
