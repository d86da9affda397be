//! A statement's clause with other settings: what it says now and what it should say in, a new text out.
//! Everything else in the text stays as it is.

use std::collections::VecDeque;
use std::ops::Range;

use anyhow::{Result, bail};
use velo_advisor::{Candidate, Setting};
use velo_lint::Unit;
use velo_lint::scan::{Form, RawEntry, RawValue};
use velo_schema::keys::{Key, Relevance};

/// The text with the candidate's settings in the statement's clause: values that are there are replaced; a key
/// that means nothing any more makes room for one that is missing, or goes; what is still missing is added behind
/// the last entry.
pub(crate) fn with_settings(unit: &Unit<'_>, candidate: &Candidate) -> Result<String> {
    let is_here = |part: &&velo_lint::unit::Part<'_>| part.file == 0 && part.clause.form == Form::Sql;
    let Some((number, part)) = unit.clauses.iter().enumerate().find(|(_, part)| is_here(part)) else {
        bail!("the statement has no WITH clause in this file: add the clause by hand");
    };
    let text = unit.text;
    let entries: Vec<_> = part.clause.entries.iter().map(outer).collect();
    let settings = candidate.clause();
    let mut missing: VecDeque<&Setting> = settings.iter().collect();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut useless = Vec::new();
    for item in &unit.items {
        let of_batches =
            matches!(item.key.def().relevance, Relevance::Strategies(_)) || item.key == Key::BatchStrategy;
        if !of_batches {
            continue;
        }
        if item.clause != number {
            bail!("'{}' stands in another clause: change it there", item.qualified());
        }
        if let Some(setting) = settings.iter().find(|setting| setting.key == item.key.name()) {
            missing.retain(|other| other.key != setting.key);
            if item.value != setting.value {
                edits.push((item.value_span.range.clone(), setting.value.clone()));
            }
        } else if !item.key.def().applies_to(candidate.strategy) {
            useless.extend(entries.iter().position(|entry| *entry == outer(item.raw)));
        }
    }
    let spelled = |setting: &Setting| format!("'{}' = '{}'", setting.key, setting.value);
    // The first of those that go make room.
    let room = missing.len().min(useless.len());
    for entry in useless.drain(..room) {
        edits.extend(missing.pop_front().map(|setting| (entries[entry].clone(), spelled(setting))));
    }
    edits.extend(without(text, &entries, &useless));
    if !missing.is_empty() {
        let (at, is_first) = match entries.last() {
            Some(last) => (last.end, false),
            // Behind the opening bracket.
            None => (
                text[part.clause.span.clone()]
                    .find('(')
                    .map_or(part.clause.span.end, |at| part.clause.span.start + at + 1),
                true,
            ),
        };
        let before = match entries.last() {
            Some(last) if text[part.clause.span.start..last.start].contains('\n') => {
                let line = text[..last.start].rfind('\n').map_or(0, |at| at + 1);
                let indent = text[line..last.start].chars().take_while(|c| c.is_whitespace());
                format!("\n{}", indent.collect::<String>())
            }
            Some(_) => " ".to_owned(),
            None => String::new(),
        };
        let spelled: Vec<_> = missing.iter().map(|setting| spelled(setting)).collect();
        let comma = if is_first { "" } else { "," };
        edits.push((at..at, format!("{comma}{before}{}", spelled.join(&format!(",{before}")))));
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut changed = text.to_owned();
    for (range, new) in edits.into_iter().rev() {
        changed.replace_range(range, &new);
    }
    Ok(changed)
}

/// An entry with its quotes.
fn outer(entry: &RawEntry) -> Range<usize> {
    let key = entry.key.outer();
    match &entry.value {
        RawValue::Text(value) => key.start..value.outer().end,
        RawValue::Unknown | RawValue::Missing | RawValue::NotAnOption => key,
    }
}

/// Takes entries out, each with one comma.
fn without(text: &str, entries: &[Range<usize>], useless: &[usize]) -> Vec<(Range<usize>, String)> {
    let mut edits = Vec::new();
    let is_useless = |index: usize| useless.contains(&index);
    for index in useless.iter().copied() {
        let own = &entries[index];
        // Behind the last one that stays there is no comma; each but the first goes with the one before it.
        let is_at_the_end = (index..entries.len()).all(is_useless);
        let comma = if is_at_the_end {
            index.checked_sub(1).and_then(|before| comma(text, entries[before].end..own.start))
        } else {
            entries.get(index + 1).and_then(|next| comma(text, own.end..next.start))
        };
        match comma {
            // What follows on its line goes with it where that is nothing.
            Some(at) if at >= own.end => {
                let rest = text[at + 1..].len() - text[at + 1..].trim_start().len();
                edits.push((own.start..at + 1 + rest, String::new()));
            }
            Some(at) if text[at + 1..own.start].trim().is_empty() => {
                edits.push((at..own.end, String::new()));
            }
            Some(at) => {
                edits.push((at..at + 1, String::new()));
                edits.push((own.clone(), String::new()));
            }
            None => edits.push((own.clone(), String::new())),
        }
    }
    edits
}

/// The comma between two entries, where there is nothing else but space and comments.
fn comma(text: &str, between: Range<usize>) -> Option<usize> {
    let mut at = between.start;
    while at < between.end {
        let rest = &text[at..between.end];
        if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if rest.starts_with(',') {
            return Some(at);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
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
    fn keys_of_another_strategy_make_room_or_go() {
        let start = "CREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH (";
        for (before, after) in [
            (
                "'batch.size' = '100', 'batch.strategy' = 'fixed_size', 'failure_strategy' = 'FailBatch', \
                 'batch.timeout' = '1s');",
                "'batch.low_latency_max_size' = '5', 'batch.strategy' = 'low_latency', \
                 'failure_strategy' = 'FailBatch');",
            ),
            (
                "'failure_strategy' = 'FailBatch', -- all, or none\n  'batch.size' = '9', -- by guess\n  \
                 'batch.timeout' = '1s' -- a while\n);",
                "'failure_strategy' = 'FailBatch', -- all, or none\n  'batch.strategy' = 'low_latency', -- by \
                 guess\n  'batch.low_latency_max_size' = '5' -- a while\n);",
            ),
            (
                "'batch.strategy' = 'fixed_size' /* a, b */, -- c, d\n 'batch.low_latency_max_size' = '1', \
                 'batch.size' = '9', /* e */ 'batch.timeout' = '1s' -- f\n);",
                "'batch.strategy' = 'low_latency' /* a, b */, -- c, d\n 'batch.low_latency_max_size' = '5' /* e */  \
                 -- f\n);",
            ),
            (
                "'topic' = 'x');",
                "'topic' = 'x', 'batch.strategy' = 'low_latency', 'batch.low_latency_max_size' = '5');",
            ),
        ] {
            assert_eq!(changed(&format!("{start}{before}"), "low_latency 5"), format!("{start}{after}"));
        }
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
