//! Prints the findings of lint. [`FORMATS`] is the table of all formats; each has a file of its own.

pub mod checkstyle;
pub mod concise;
mod format;
pub mod github;
pub mod gitlab;
pub mod json;
pub mod junit;
pub mod rdjson;
pub mod rules_page;
pub mod sarif;
pub mod statistics;
pub mod text;
mod uri;
mod xml;

pub use format::{Format, Output};

/// Every format, in the order in which help and docs list them.
pub const FORMATS: &[&Format] = &[
    &text::FORMAT,
    &concise::FORMAT,
    &json::FORMAT,
    &sarif::FORMAT,
    &github::FORMAT,
    &gitlab::FORMAT,
    &junit::FORMAT,
    &checkstyle::FORMAT,
    &rdjson::FORMAT,
];

/// Returns the format of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Format> {
    FORMATS.iter().copied().find(|format| format.name == name)
}

#[cfg(test)]
mod tests {
    use velo_lint::{FileReport, Language, lint};

    use super::*;

    /// A report of a text under this name.
    pub(crate) fn report(name: &str, text: &str) -> FileReport {
        FileReport {
            name: name.to_owned(),
            text: text.to_owned(),
            language: Language::Sql,
            statements: Vec::new(),
            parts: Vec::new(),
            findings: lint(text, Language::Sql),
        }
    }

    /// What a format prints.
    pub(crate) fn printed(format: &Format, reports: &[FileReport]) -> String {
        let mut out = Vec::new();
        (format.print)(&mut out, reports, &Output { has_colors: false, folder: "/project".into() })
            .expect("it is written to memory");
        String::from_utf8(out).expect("UTF-8")
    }

    const BAD: &str = "WITH ('batch.size' = '0', 'failure_strategy' = 'FailBatch');\n";

    #[test]
    fn every_format_names_file_line_and_rule() {
        for format in FORMATS {
            let out = printed(format, &[report("./jobs/a.sql", &format!("\n{BAD}")), report("b.sql", "")]);
            for part in ["jobs/a.sql", "2", "out-of-range"] {
                assert!(out.contains(part), "{}: {part}: {out}", format.name);
            }
            assert!(out.ends_with('\n'), "{}", format.name);
        }
    }

    #[test]
    fn formats_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(names.len(), FORMATS.len());
        assert!(FORMATS.iter().all(|format| find(format.name).is_some() && !format.about.is_empty()));
    }
}
