//! A statement's clause with other settings: what it says now and what it should say in, a new text out.
//! Everything else in the text stays as it is.

use std::ops::Range;

use anyhow::{Result, bail};
use velo_advisor::{Candidate, Setting};
use velo_lint::Unit;
use velo_lint::scan::Form;
use velo_schema::keys::{Key, Relevance};

/// The text with the candidate's settings in the statement's clause: values that are there are replaced, keys
/// that mean nothing any more are taken out, the others are added behind the last entry.
pub(crate) fn with_settings(unit: &Unit<'_>, candidate: &Candidate) -> Result<String> {
    let Some(part) = unit.clauses.iter().find(|part| part.file == 0 && part.clause.form == Form::Sql) else {
        bail!("the statement has no WITH clause in this file: add the clause by hand");
    };
    let is_here = |clause: usize| {
        unit.clauses.get(clause).is_some_and(|at| at.file == 0 && at.clause.form == Form::Sql)
    };
    let settings = candidate.clause();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut missing: Vec<&Setting> = settings.iter().collect();
    for item in &unit.items {
        let wanted = settings.iter().find(|setting| setting.key == item.key.name());
        let of_batches =
            matches!(item.key.def().relevance, Relevance::Strategies(_)) || item.key == Key::BatchStrategy;
        if !of_batches {
            continue;
        }
        if !is_here(item.clause) {
            bail!("'{}' stands in another file: change it there", item.qualified());
        }
        match wanted {
            Some(setting) => {
                missing.retain(|other| other.key != setting.key);
                if item.value != setting.value {
                    edits.push((item.value_span.range.clone(), setting.value.clone()));
                }
            }
            None if !item.key.def().applies_to(candidate.strategy) => {
                edits.push((
                    entry(unit.text, item.key_span.range.start, item.value_span.range.end),
                    String::new(),
                ));
            }
            None => {}
        }
    }
    if !missing.is_empty() {
        let close = part.clause.span.end - 1;
        let last = unit.text[..close].trim_end().trim_end_matches(',').len();
        let line = unit.text[..last].rfind('\n').map_or(0, |at| at + 1);
        let indent: String =
            unit.text[line..].chars().take_while(|c| c.is_whitespace() && *c != '\n').collect();
        let is_one_line = !unit.text[part.clause.span.start..last].contains('\n');
        let before = if is_one_line { " ".to_owned() } else { format!("\n{indent}") };
        let is_empty = unit.text[..last].ends_with('(');
        let mut added = String::new();
        for (index, setting) in missing.iter().enumerate() {
            let comma = if is_empty && index == 0 { "" } else { "," };
            added += &format!("{comma}{before}'{}' = '{}'", setting.key, setting.value);
        }
        edits.push((last..last, added));
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut text = unit.text.to_owned();
    for (range, new) in edits.into_iter().rev() {
        text.replace_range(range, &new);
    }
    Ok(text)
}

/// An entry with its quotes, and the comma and the space that part it from its neighbour.
fn entry(text: &str, key: usize, value_end: usize) -> Range<usize> {
    let start = if text[..key].ends_with(['\'', '"', '`']) { key - 1 } else { key };
    let end = if text[value_end..].starts_with(['\'', '"', '`']) { value_end + 1 } else { value_end };
    let behind = text[end..].trim_start();
    if let Some(rest) = behind.strip_prefix(',') {
        // Up to the next entry.
        return start..text.len() - rest.trim_start().len();
    }
    let before = text[..start].trim_end();
    match before.strip_suffix(',') {
        Some(before) => before.len()..end,
        None => start..end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velo_lint::{Document, Language, NoFiles, Options};

    fn changed(text: &str, candidate: &str) -> String {
        let document = Document::read("job.sql", text, Language::Sql, &NoFiles);
        let options = Options::default();
        let unit = document.units(&options).next().expect("a statement");
        let candidate =
            Candidate::all().into_iter().find(|all| all.to_string() == candidate).expect(candidate);
        let after = with_settings(&unit, &candidate).expect("it can be changed");
        // It says what was asked for, and nothing is wrong with it.
        let document = Document::read("job.sql", &after, Language::Sql, &NoFiles);
        let unit = document.units(&options).next().expect("a statement");
        let settings = velo_schema::Settings::resolve(&unit.entries(), velo_schema::Side::Job, None);
        assert_eq!(Candidate::of_settings(&settings), Some(candidate), "{after}");
        let findings = document.check(&options);
        assert!(
            findings.iter().all(|finding| finding.severity < velo_lint::Severity::Warning),
            "{after}: {findings:?}"
        );
        after
    }

    #[test]
    fn values_change_and_everything_else_stays() {
        let text = "-- a job\nCREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH (\n    'topic' = 'x', -- why\n    \
                    'batch.strategy' = 'fixed_size',\n    'batch.size' = '100'\n);\n";
        let expected = "-- a job\nCREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH (\n    'topic' = 'x', -- why\n    \
                        'batch.strategy' = 'fixed_size',\n    'batch.size' = '500',\n    'batch.timeout' = '50ms'\n);\n";
        assert_eq!(changed(text, "fixed_size 500, 50ms"), expected);
    }

    #[test]
    fn keys_of_another_strategy_go() {
        let text = "CREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH ('batch.size' = '100', \
                    'batch.strategy' = 'fixed_size', 'failure_strategy' = 'FailBatch', 'batch.timeout' = '1s');";
        let after = changed(text, "low_latency 5");
        assert_eq!(
            after,
            "CREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH ('batch.strategy' = 'low_latency', \
             'failure_strategy' = 'FailBatch', 'batch.low_latency_max_size' = '5');"
        );
    }

    #[test]
    fn every_candidate_can_be_written_over_every_strategy() {
        for candidate in Candidate::all().into_iter().step_by(5) {
            let text = format!(
                "CREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH ({});",
                candidate
                    .clause()
                    .iter()
                    .map(|s| format!("'{}' = '{}'", s.key, s.value))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            for other in ["fixed_size 500, 50ms", "low_latency 5", "time_window 100ms"] {
                changed(&text, other);
            }
        }
    }
}
