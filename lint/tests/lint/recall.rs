//! One mistake at a time is sown into every statement that has none: its rule finds it, once, at its place.

use std::collections::BTreeMap;
use std::ops::Range;

use velo_lint::scan::{Form, RawValue};
use velo_lint::unit::{Item, Reading};
use velo_lint::{Document, Language, NoFiles, Options, Severity, Unit, lint};
use velo_schema::keys::{Key, Relevance};
use velo_schema::value::{Kind, Value};
use velo_schema::{FailureStrategy, Scope, Strategy, StrategyKind};

use super::fixtures::all;

/// A mistake: the rule that must find it, the text with it, and the byte where it is found.
struct Seed {
    rule: &'static str,
    text: String,
    place: usize,
}

/// Sows into one text.
struct Sower<'a> {
    text: &'a str,
    unit: &'a Unit<'a>,
    seeds: Vec<Seed>,
}

impl<'a> Sower<'a> {
    fn edit(&mut self, rule: &'static str, range: Range<usize>, with: &str, place: usize) {
        let mut text = self.text.to_owned();
        text.replace_range(range, with);
        self.seeds.push(Seed { rule, text, place });
    }

    /// Replaces a value; the mistake is found `within` bytes behind its beginning.
    fn value(&mut self, rule: &'static str, item: &Item<'a>, with: &str, within: usize) {
        let at = item.value_span.range.clone();
        let place = at.start + within;
        self.edit(rule, at, with, place);
    }

    /// Puts an entry behind that of `item`; found at its key, or at its value.
    fn entry(&mut self, rule: &'static str, item: &Item<'a>, key: &str, value: &str, at_value: bool) {
        let Some(end) = Self::outer_end(item) else { return };
        let entry = format!(", '{key}' = '{value}'");
        let place = end + if at_value { entry.len() - value.len() - 1 } else { 3 };
        self.edit(rule, end..end, &entry, place);
    }

    fn outer_end(item: &Item<'_>) -> Option<usize> {
        match &item.raw.value {
            RawValue::Text(value) if value.quoted => Some(value.outer().end),
            _ => None,
        }
    }

    fn prefix(item: &Item<'_>) -> String {
        item.scope.qualify(item.key).trim_end_matches(item.key.name()).to_owned()
    }

    fn is_set(&self, scope: &Scope, key: Key) -> bool {
        self.unit.effective(scope, key).is_some()
    }

    /// Mistakes in the value of an entry, in any form.
    fn values(&mut self, item: &Item<'a>) {
        match item.key.def().kind {
            Kind::Strategy => self.value("unknown-strategy", item, "turbo", 0),
            Kind::FailureStrategy | Kind::OnExhausted => {
                self.value("unknown-failure-strategy", item, "FailBatsh", 0);
            }
            Kind::Boolean => self.value("not-a-boolean", item, "perhaps", 0),
            Kind::Duration { .. } => {
                self.value("invalid-duration", item, "soon", 0);
                self.value("duration-without-unit", item, "1500", 0);
                self.value("out-of-range", item, "366d", 0);
            }
            Kind::Integer { .. } => {
                self.value("wrong-type", item, "many", 0);
                self.value("out-of-range", item, "-5", 0);
                let is_quoted = matches!(&item.raw.value, RawValue::Text(value) if value.quoted);
                let (open, quote) = if is_quoted { ("${N:-", "") } else { ("\"${N:-", "\"") };
                self.value("placeholder-default", item, &format!("{open}many}}{quote}"), open.len());
            }
            Kind::Topic => self.value("wrong-type", item, "not a topic", 0),
        }
        if item.key == Key::BatchMemorySize {
            self.value("size-with-unit", item, "10MB", 0);
        }
        if let Reading::Known(parsed) = &item.reading
            && let Value::Strategy(_) | Value::FailureStrategy(_) = parsed.value
        {
            let shouted = item.value.to_uppercase();
            self.value("non-canonical-spelling", item, &shouted, 0);
        }
    }

    /// Mistakes in the syntax around an entry of SQL.
    fn syntax(&mut self, item: &Item<'a>) {
        let (key, Some(value_end)) = (item.raw.key.outer(), Self::outer_end(item)) else { return };
        let RawValue::Text(value) = &item.raw.value else { return };
        let rest = &self.text[value_end..];
        if let Some(behind) = rest.strip_prefix(')') {
            self.edit("trailing-comma", value_end..value_end, ",", value_end);
            if behind.trim_start().is_empty() || rest.starts_with(");") {
                self.edit("unclosed-clause", value_end..value_end + 1, "", value_end);
            }
        }
        // The rest of the line must be the rest of the clause, or it is anybody's guess where the text ends.
        if rest.starts_with(",\n") || rest.starts_with(");\n") {
            let quote = value.span.end;
            self.edit("unterminated-string", quote..quote + 1, "", value.outer().start);
        }
        let next = self.unit.items.iter().find(|next| next.raw.key.outer().start > value_end);
        if rest.starts_with(',')
            && next.is_some_and(|next| rest[1..].trim_start().starts_with(&self.text[next.raw.key.outer()]))
        {
            self.edit("missing-comma", value_end..value_end + 1, " ", value_end);
        }
        let between = &self.text[key.end..value.outer().start];
        // Behind a placeholder of entries, a key may be somebody's value.
        let stands_alone = self.text[..key.start].trim_end().ends_with(['(', ',']);
        if between.trim() == "=" && item.raw.key.quoted && stands_alone {
            let equals = key.end + between.find('=').expect("just seen");
            self.edit("missing-equals", equals..equals + 1, " ", key.end);
            let bare = self.text[item.raw.key.span.clone()].to_owned();
            if item.key.name().contains('.') {
                self.edit("unquoted", key.clone(), &bare, key.start);
            }
        }
        let (name, written) = (item.qualified(), item.value.to_owned());
        self.entry("duplicate-key", item, &name, &written, false);
        // A stream may be called batch, and its keys are its own.
        let is_stream = self.unit.statement.names.iter().any(|name| name.text == "batch");
        if item.key.name().starts_with("batch.") && !matches!(item.scope, Scope::Named(_)) && !is_stream {
            self.edit(
                "unknown-key",
                item.raw.key.span.clone(),
                &format!("{name}_xyzzy"),
                item.raw.key.span.start,
            );
        }
        let has_company =
            self.unit.items.iter().any(|other| other.clause == item.clause && other.key != item.key);
        if item.key == Key::FailureStrategy && has_company {
            let misspelt = name.replace("strategy", "stratgey");
            self.edit("near-miss-key", item.raw.key.span.clone(), &misspelt, item.raw.key.span.start);
        }
    }

    /// Mistakes in what the settings mean together.
    fn meaning(&mut self, item: &Item<'a>) {
        let (unit, scope) = (self.unit, item.scope.clone());
        let config = unit.config(&scope);
        let prefix = Self::prefix(item);
        let key = |key: Key| format!("{prefix}{key}");
        if !config.enabled {
            return;
        }
        if item.key == Key::BatchStrategy && Self::outer_end(item).is_some() {
            for def in velo_schema::keys::KEYS {
                let Relevance::Strategies(by) = def.relevance else { continue };
                let is_new = !unit.items.iter().any(|other| other.key == def.key)
                    && !unit
                        .items
                        .iter()
                        .any(|other| other.key == Key::BatchStrategy && other.scope != scope);
                if is_new && !by.contains(&config.strategy.kind()) {
                    self.entry("inert-key", item, &key(def.key), def.example, false);
                }
            }
            match config.strategy {
                Strategy::AdaptiveSize { .. } if !self.is_set(&scope, Key::BatchTimeout) => {
                    self.entry("timeout-above-target", item, &key(Key::BatchTimeout), "2h", true);
                }
                Strategy::MegaBatch { parallel: true, .. }
                    if !self.is_set(&scope, Key::BatchParallel)
                        && !self.is_set(&scope, Key::TransactionBatches) =>
                {
                    self.entry("parallel-transaction", item, "transaction.batches", "4", true);
                }
                _ => {}
            }
        }
        let alone = unit.items.iter().all(|other| other.scope == Scope::Job);
        let asks = |other: &&Item<'_>| !other.key.def().applies_to(StrategyKind::FixedSize);
        let asking = unit.effective_items().find(asks).map(|other| other.key_span.range.start);
        if let (Key::BatchStrategy, true, Some(asking), Some(end)) =
            (item.key, alone, asking, Self::outer_end(item))
        {
            let (start, other) = (item.raw.key.outer().start, "'some.other' = 'key'");
            let place = if asking > start { asking + other.len() - (end - start) } else { asking };
            self.edit("required-key-missing", start..end, other, place);
        }
        let is_bounded = !unit.is_unreadable(&scope, Key::BatchAdaptiveMaxSize);
        if item.key == Key::BatchMinSize && config.strategy.kind() == StrategyKind::AdaptiveSize && is_bounded
        {
            self.value("min-above-max", item, "2147483647", 0);
        }
        let is_plain_job = unit.items.iter().all(|other| other.scope == Scope::Job);
        if item.key == Key::FailureStrategy && is_plain_job {
            let retries = config.failure.strategy == FailureStrategy::RetryWithBackoff;
            if !retries && !unit.items.iter().any(|other| other.key.def().relevance == Relevance::Retries) {
                self.entry("retry-key-without-retries", item, "max_retries", "5", false);
            }
            if config.failure.uses_dlq() || unit.items.iter().any(|other| other.key == Key::DlqTopic) {
                // It is used, or there already.
            } else if !unit.statement.names.iter().any(|name| name.text == "dlq") {
                self.entry("inert-key", item, "dlq.topic", "somewhere.else", false);
            }
            if config.strategy.kind() == StrategyKind::MegaBatch && !retries {
                self.value("blast-radius", item, "FailBatch", 0);
            }
            if config.strategy.kind() == StrategyKind::LowLatency
                && retries
                && !self.is_set(&scope, Key::RetryBackoff)
                && config.failure.max_retries > 0
            {
                self.entry("backoff-above-latency", item, "retry_backoff", "3s", true);
            }
            let read = unit.statement.names.iter().find(|name| !name.is_sink);
            if config.failure.uses_dlq()
                && !unit.foreign.iter().any(|foreign| foreign.key.contains("topic"))
                && let Some(source) = read.filter(|_| !self.is_set(&scope, Key::DlqTopic))
            {
                let topic = source.text.clone();
                if Key::DlqTopic.def().parse(&topic).is_ok() {
                    self.entry("dlq-topic-in-use", item, "dlq.topic", &topic, true);
                }
            }
        }
        if item.key == Key::MaxRetries
            && is_plain_job
            && config.failure.strategy == FailureStrategy::RetryWithBackoff
        {
            self.value("zero-retries", item, "0", 0);
        }
        let on_side = |other: &Item<'_>| other.key == item.key && other.scope != Scope::Job;
        if scope == Scope::Job
            && item.key.def().scopes == velo_schema::keys::Scopes::Every
            && !unit.items.iter().any(on_side)
        {
            let written = item.value.to_owned();
            self.entry("redundant-key", item, &format!("sink.{}", item.key), &written, false);
        }
        let only_job_batches =
            unit.items.iter().all(|other| other.scope == Scope::Job && other.key != Key::BatchEnable);
        if item.key == Key::BatchStrategy && only_job_batches {
            self.entry("batching-disabled", item, "batch.enable", "false", true);
        }
    }
}

#[test]
fn a_mistake_in_any_statement_is_found_once_at_its_place() {
    let mut sown = BTreeMap::<&str, usize>::new();
    let mut missed = Vec::new();
    for fixture in
        all().into_iter().filter(|fixture| fixture.says_nothing() && fixture.options == Options::default())
    {
        if fixture.text.contains("velo: allow") || fixture.text.contains("{%") {
            continue;
        }
        // Files of others are ours by their words only as long as all of these are right.
        if fixture.language == Language::Yaml && !fixture.name.contains("ours_") {
            continue;
        }
        let document = Document::read("", &fixture.text, fixture.language, &NoFiles);
        let options = Options::default();
        for unit in document.units(&options).filter(|unit| unit.is_complete() && !unit.items.is_empty()) {
            let mut sower = Sower { text: &fixture.text, unit: &unit, seeds: Vec::new() };
            for item in unit.effective_items().filter(|item| !item.in_placeholder) {
                if !matches!(item.reading, Reading::Known(_)) || item.value.is_empty() {
                    continue;
                }
                sower.values(item);
                if unit.clauses[item.clause].clause.form == Form::Sql && fixture.language == Language::Sql {
                    sower.syntax(item);
                    sower.meaning(item);
                }
            }
            for part in &unit.clauses {
                let clause = &part.clause.span;
                let query = unit.statement.query.as_ref().filter(|query| query.start < clause.start);
                if unit.statement.creates_stream
                    && query.is_some()
                    && part.text[clause.clone()].ends_with(')')
                {
                    sower.edit("empty-clause", clause.clone(), "WITH ( )", clause.start);
                }
            }
            for seed in sower.seeds {
                *sown.entry(seed.rule).or_default() += 1;
                let found: Vec<_> = lint(&seed.text, fixture.language)
                    .into_iter()
                    .filter(|finding| finding.rule == seed.rule && finding.severity > Severity::Info)
                    .map(|finding| finding.span.start)
                    .collect();
                if found != [seed.place] {
                    let line = seed.text[..seed.place.min(seed.text.len())].matches('\n').count() + 1;
                    let source = seed.text.lines().nth(line - 1).unwrap_or_default().to_owned();
                    missed.push(format!(
                        "{}:{line}: {} at {}, found at {found:?}: {source}",
                        fixture.name, seed.rule, seed.place
                    ));
                }
            }
        }
    }
    println!("sown: {sown:?}");
    assert!(
        missed.is_empty(),
        "{} of {} missed:\n{}",
        missed.len(),
        sown.values().sum::<usize>(),
        missed.join("\n")
    );
    assert!(sown.len() >= 30, "too few rules are sown: {sown:?}");
}
