//! A statement's clause with other settings: what it says now and what it should say in, a new text out.
//! Everything else in the text stays as it is.

use std::collections::VecDeque;
use std::ops::Range;

use anyhow::{Result, bail};
use velo_advisor::{Candidate, Setting};
use velo_lint::Unit;
use velo_lint::scan::{Form, RawEntry, RawValue};
use velo_lint::unit::{Item, Part};
use velo_schema::Scope;
use velo_schema::keys::{Key, Relevance};

/// The text with the candidate's settings where `source` takes them from: values that are there
/// are replaced; a key that means nothing any more makes room for one that is missing, or goes; what is still
/// missing is added behind the last entry, or in a clause of its own.
pub(crate) fn with_settings(unit: &Unit<'_>, source: Option<&str>, candidate: &Candidate) -> Result<String> {
    let settings = candidate.clause();
    let mut missing: VecDeque<&Setting> = settings.iter().collect();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut useless: Vec<&Item<'_>> = Vec::new();
    let in_force = in_force(unit, source);
    for item in &in_force {
        let of_batches =
            matches!(item.key.def().relevance, Relevance::Strategies(_)) || item.key == Key::BatchStrategy;
        let setting = settings.iter().find(|setting| setting.key == item.key.name());
        if item.key == Key::BatchEnable && item.value != "true" {
            edits.push((value_of(unit, item)?, "true".to_owned()));
        } else if item.key == Key::BatchMaxSize {
            may_stay(item, candidate)?;
        } else if let Some(setting) = setting {
            missing.retain(|other| other.key != setting.key);
            let value = value_of(unit, item)?;
            if item.value != setting.value {
                edits.push((value, setting.value.clone()));
            }
        } else if of_batches {
            value_of(unit, item)?;
            useless.push(item);
        }
    }
    // What is new stands where its strategy is said, else where any of its kind is.
    let home = in_force.iter().find(|item| item.key == Key::BatchStrategy).or(in_force.first());
    let scope = home.map_or(Scope::Job, |item| item.scope.clone());
    let spelled = |setting: &Setting| {
        let key = Key::from_name(&setting.key).map_or_else(|| setting.key.clone(), |key| scope.qualify(key));
        format!("'{key}' = '{}'", setting.value)
    };
    let number = home.map(|item| item.clause).or_else(|| clause_of(unit));
    // The first of those that go make room for those that come, in the same clause.
    let mut of_home: Vec<_> = useless.iter().copied().filter(|item| Some(item.clause) == number).collect();
    for item in of_home.drain(..missing.len().min(of_home.len())) {
        edits.extend(missing.pop_front().map(|setting| (outer(item.raw), spelled(setting))));
        useless.retain(|other| !std::ptr::eq(*other, item));
    }
    for (number, part) in unit.clauses.iter().enumerate() {
        let entries: Vec<_> = part.clause.entries.iter().map(outer).collect();
        let of_this = useless.iter().filter(|item| item.clause == number);
        let places = of_this.filter_map(|item| entries.iter().position(|entry| *entry == outer(item.raw)));
        let places: Vec<_> = places.collect();
        edits.extend(without(unit.text, &entries, &places));
    }
    if !missing.is_empty() {
        let spelled: Vec<_> = missing.iter().map(|setting| spelled(setting)).collect();
        edits.push(addition(unit, number, &spelled)?);
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut changed = unit.text.to_owned();
    for (range, new) in edits.into_iter().rev() {
        changed.replace_range(range, &new);
    }
    Ok(changed)
}

/// The items whose values hold for a source, in order.
fn in_force<'u, 'a>(unit: &'u Unit<'a>, source: Option<&str>) -> Vec<&'u Item<'a>> {
    let named = source.map(|name| Scope::Named(name.to_owned()));
    let chain: Vec<_> = named.into_iter().chain([Scope::Source, Scope::Job]).collect();
    let holds = |item: &&Item<'a>| {
        let effective = chain.iter().find_map(|scope| unit.set_in(scope, item.key));
        effective.is_some_and(|effective| std::ptr::eq(effective, *item))
    };
    unit.items.iter().filter(holds).collect()
}

/// Where an item's value stands, if it is a text of this file that holds as it stands.
fn value_of(unit: &Unit<'_>, item: &Item<'_>) -> Result<Range<usize>> {
    let part = &unit.clauses[item.clause];
    if part.file != 0 || part.clause.form != Form::Sql {
        bail!("'{}' stands in another file: change it there", item.qualified());
    }
    if part.is_templated {
        bail!("a template decides what stands beside '{}': change it by hand", item.qualified());
    }
    if let Some(placeholder) = item.filled_in.map(|_| &part.text[item.value_span.range.clone()]) {
        bail!("the value of '{}' comes from {placeholder}: change it there", item.qualified());
    }
    match item.raw.value {
        RawValue::Text(_) => Ok(item.value_span.range.clone()),
        _ => bail!("the value of '{}' is no text: change it by hand", item.qualified()),
    }
}

/// A cap may stay where it does not cap anything.
fn may_stay(item: &Item<'_>, candidate: &Candidate) -> Result<()> {
    let most = candidate.plan(None).batch_records.max;
    let caps = item.value.parse::<u64>().is_ok_and(|cap| cap < most);
    if caps {
        bail!(
            "'{}' = '{}' caps what was recommended, batches of up to {most} records: raise it first, or take it out",
            item.qualified(),
            item.value
        );
    }
    Ok(())
}

/// The clause for what is new where nothing of its kind stands anywhere: one that has settings of ours, else the
/// first one behind the query.
fn clause_of(unit: &Unit<'_>) -> Option<usize> {
    let is_here = |part: &Part<'_>| part.file == 0 && part.clause.form == Form::Sql && !part.is_templated;
    let has_ours = |number: &usize| unit.items.iter().any(|item| item.clause == *number);
    let end = unit.statement.query.as_ref().map_or(0, |query| query.end);
    let here = || unit.clauses.iter().enumerate().filter(|(_, part)| is_here(part));
    let behind = || here().filter(|(_, part)| part.clause.span.start >= end);
    here().map(|(number, _)| number).find(has_ours).or_else(|| behind().map(|(number, _)| number).next())
}

/// Entries behind the last one of a clause, or in one of their own behind the query.
fn addition(unit: &Unit<'_>, number: Option<usize>, spelled: &[String]) -> Result<(Range<usize>, String)> {
    let text = unit.text;
    let Some(number) = number else {
        let Some(query) = &unit.statement.query else { bail!("the statement has no query to stand behind") };
        let end = query.start + text[query.clone()].trim_end().trim_end_matches(';').trim_end().len();
        return Ok((end..end, format!("\nWITH (\n    {}\n)", spelled.join(",\n    "))));
    };
    let clause = unit.clauses[number].clause;
    let Some(last) = clause.entries.last().map(outer) else {
        // Behind the opening bracket.
        let open =
            text[clause.span.clone()].find('(').map_or(clause.span.end, |at| clause.span.start + at + 1);
        return Ok((open..open, spelled.join(", ")));
    };
    let before = if text[clause.span.start..last.start].contains('\n') {
        let line = text[..last.start].rfind('\n').map_or(0, |at| at + 1);
        let indent = text[line..last.start].chars().take_while(|c| c.is_whitespace());
        format!("\n{}", indent.collect::<String>())
    } else {
        " ".to_owned()
    };
    Ok((last.end..last.end, format!(",{before}{}", spelled.join(&format!(",{before}")))))
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
                edits.push((whole_line(text, own), String::new()));
            }
            None => edits.push((own.clone(), String::new())),
        }
    }
    edits
}

/// The line that an entry has for itself, with the line break before it; else the entry.
fn whole_line(text: &str, entry: &Range<usize>) -> Range<usize> {
    let start = text[..entry.start].rfind('\n');
    let end = text[entry.end..].find('\n').map(|at| entry.end + at);
    match (start, end) {
        (Some(start), Some(end))
            if text[start..entry.start].trim().is_empty() && text[entry.end..end].trim().is_empty() =>
        {
            start..end
        }
        _ => entry.clone(),
    }
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
        let source = unit.statement.sources().first().map(|name| name.text.as_str());
        let after = with_settings(&unit, source, &candidate).expect("it can be changed");
        // It says what was asked for, and nothing is wrong with it.
        let document = Document::read("job.sql", &after, Language::Sql, &NoFiles);
        let unit = document.units(&options).next().expect("a statement");
        let (settings, ..) = crate::render::plan::sides(&unit);
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
                "'batch.strategy' = 'fixed_size',\n  'batch.size' = '1000', -- by guess\n  'batch.timeout' = '5s'\n);",
                "'batch.strategy' = 'low_latency',\n  'batch.low_latency_max_size' = '5' -- by guess\n);",
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
    fn what_holds_for_the_source_changes_and_nothing_else() {
        let start = "CREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH (";
        for (before, after) in [
            // The sink keeps its own.
            (
                "'sink.batch.strategy' = 'fixed_size', 'sink.batch.size' = '7', 'batch.strategy' = 'fixed_size', \
                 'batch.size' = '100');",
                "'sink.batch.strategy' = 'fixed_size', 'sink.batch.size' = '7', 'batch.strategy' = 'low_latency', \
                 'batch.low_latency_max_size' = '5');",
            ),
            // What the source says goes before what the job says.
            (
                "'batch.size' = '100', 'source.batch.strategy' = 'low_latency', \
                 'source.batch.low_latency_max_size' = '1');",
                "'source.batch.strategy' = 'low_latency', 'source.batch.low_latency_max_size' = '5');",
            ),
            (
                "'b.batch.strategy' = 'time_window');",
                "'b.batch.strategy' = 'low_latency', \
              'b.batch.low_latency_max_size' = '5');",
            ),
            // Other keys of the same strategy would make another candidate of it.
            (
                "'batch.strategy' = 'low_latency', 'batch.low_latency_wait' = '9ms');",
                "'batch.strategy' = 'low_latency', 'batch.low_latency_max_size' = '5');",
            ),
            (
                "'batch.enable' = 'false', 'batch.size' = '3');",
                "'batch.enable' = 'true', 'batch.strategy' = 'low_latency', 'batch.low_latency_max_size' = '5');",
            ),
        ] {
            assert_eq!(changed(&format!("{start}{before}"), "low_latency 5"), format!("{start}{after}"));
        }
    }

    #[test]
    fn a_statement_without_a_clause_gets_one() {
        let before = "CREATE STREAM a AS SELECT * FROM b EMIT CHANGES;\n";
        let expected = "CREATE STREAM a AS SELECT * FROM b EMIT CHANGES\nWITH (\n    'batch.strategy' = 'low_latency',\n    \
                        'batch.low_latency_max_size' = '5'\n);\n";
        assert_eq!(changed(before, "low_latency 5"), expected);
    }

    #[test]
    fn what_cannot_be_changed_says_why() {
        let start = "CREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH (";
        for (clause, why) in [
            (
                "'batch.size' = '5', {% if x %} 'topic' = 'y', {% endif %} 'group.id' = 'g');",
                "a template decides",
            ),
            ("'batch.size' = '100', 'batch.max_size' = '200');", "'batch.max_size' = '200' caps"),
        ] {
            let text = format!("{start}{clause}");
            let document = Document::read("job.sql", &text, Language::Sql, &NoFiles);
            let options = Options::default();
            let unit = document.units(&options).next().expect("a statement");
            let all = Candidate::all();
            let candidate =
                all.iter().find(|all| all.to_string() == "fixed_size 500, 50ms").expect("a candidate");
            let error = with_settings(&unit, Some("b"), candidate).expect_err("it cannot").to_string();
            assert!(error.starts_with(why), "{error}");
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
