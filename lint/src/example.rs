//! What a rule finds in its own examples: a rule and a text in, the report out.

use crate::document::Document;
use crate::files::{File, FileError, Files};
use crate::language::Language;
use crate::options::Options;
use crate::rule::Rule;
use crate::rules::invalid_yaml;
use crate::target::Target;
use crate::workspace::FileReport;

/// The mean size of the records of the examples, in bytes.
const RECORD_BYTES: u64 = 2048;

/// The only files that the examples can name.
struct Configs;

impl Files for Configs {
    fn read(&self, _: &str, path: &str) -> Result<File, FileError> {
        let settings = || File { name: path.to_owned(), text: "batch: {size: 5}".to_owned() };
        path.starts_with("configs/").then(settings).ok_or(FileError::NotFound)
    }
}

/// Returns the language of the examples of a rule.
#[must_use]
pub fn language(rule: &Rule) -> Language {
    if rule.id == invalid_yaml::RULE.id { Language::Yaml } else { Language::Sql }
}

/// Returns what a rule finds in a text, which is usually one of its own examples.
#[must_use]
pub fn report(rule: &Rule, text: &str) -> FileReport {
    let target = rule.id.starts_with("target-").then_some(Target::Velostream01);
    let options = Options { record_bytes: Some(RECORD_BYTES), target, ..Options::default() };
    let language = language(rule);
    let name = if language == Language::Yaml { "job.yaml" } else { "job.sql" };
    let document = Document::read(name, text, language, &Configs);
    let findings = document.check(&options).into_iter().filter(|finding| finding.rule == rule.id).collect();
    FileReport {
        name: name.to_owned(),
        text: text.to_owned(),
        language,
        statements: document.spans(0),
        parts: Vec::new(),
        findings,
    }
}
