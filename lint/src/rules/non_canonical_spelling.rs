//! `non-canonical-spelling`: a value with one obvious reading and another spelling.

use serde::Serialize;

use crate::finding::Fix;
use crate::rule::{Found, Rule};
use crate::scan::{Form, RawValue};
use crate::severity::Severity;
use crate::unit::Reading;

/// A value that is not written in its canonical spelling.
pub const RULE: Rule = Rule {
    id: "non-canonical-spelling",
    severity: Severity::Warning,
    summary: "A value that is not written in its canonical spelling.",
    why: "velo accepts FixedSize, FIXED_SIZE and yes. Other parsers may compare values exactly and use the default instead.",
    example: "WITH ('batch.strategy' = 'FixedSize')",
    better: "WITH ('batch.strategy' = 'fixed_size')",
    check: |unit, out| {
        for item in &unit.items {
            let Reading::Known(parsed) = &item.reading else { continue };
            if let Some(canonical) = parsed.canonical {
                let detail = Spelling { value: item.value.to_owned(), canonical };
                // Where quotes are missing, too, their fix spells it right.
                let is_yaml = unit.clauses[item.clause].clause.form == Form::Yaml;
                let quoted = matches!(&item.raw.value, RawValue::Text(text) if text.quoted || is_yaml);
                let fix = quoted.then(|| Fix::replace(true, item.value_span.range.clone(), canonical));
                out.add_fixable(&RULE, item.value_span.clone(), detail, fix);
            }
        }
    },
};

/// A value in another spelling than the canonical one.
#[derive(Debug, Serialize)]
struct Spelling {
    /// As written.
    value: String,
    /// How it is spelled.
    canonical: &'static str,
}

impl Found for Spelling {
    fn message(&self) -> String {
        let Self { value, canonical } = self;
        format!("the canonical spelling of '{value}' is '{canonical}'")
    }
}
