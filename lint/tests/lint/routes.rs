//! Generated clauses: every entry of ours is in force somewhere on the route, or is reported as unused.

use std::cell::Cell;

use proptest::prelude::*;
use velo_lint::{Document, Language, NoFiles, Options, Route, Unit, refusals, unused};
use velo_schema::keys::{KEYS, Key, KeyDef, Scopes};
use velo_schema::value::Kind;
use velo_schema::{Config, FailureStrategy};

/// What a run reads of its configuration: each side's part, without the parameters that its strategies do not have.
#[derive(Debug, PartialEq)]
struct Effective {
    source: Config,
    job: Config,
    sink: Config,
}

fn failures_of(config: &Config) -> Config {
    let mut config = config.clone();
    let defaults = Config::default();
    if config.failure.strategy != FailureStrategy::RetryWithBackoff {
        config.failure =
            velo_schema::config::Failure { strategy: config.failure.strategy, ..defaults.failure.clone() };
    }
    if config.failure.max_retries == 0 {
        config.failure.backoff = defaults.failure.backoff;
        config.failure.backoff_max = defaults.failure.backoff_max;
    }
    if !config.failure.uses_dlq() {
        config.dlq_topic = None;
    }
    config
}

fn batches_of(config: Config) -> Config {
    let defaults = Config::default();
    if config.enabled {
        return config;
    }
    Config { strategy: defaults.strategy, max_batch_records: defaults.max_batch_records, ..config }
}

fn effective(unit: &Unit<'_>, exactly_once: bool) -> Effective {
    let route = Route::first(unit);
    let [source, job, sink] =
        [&route.at_source, &route.in_job, &route.at_sink].map(|s| failures_of(&s.config()));
    let defaults = Config::default();
    let transaction_batches =
        if exactly_once { job.transaction_batches } else { defaults.transaction_batches };
    let without_batches = |config: Config| Config {
        enabled: defaults.enabled,
        strategy: defaults.strategy.clone(),
        max_batch_records: defaults.max_batch_records,
        ..config
    };
    let mut sink = if exactly_once { without_batches(sink) } else { batches_of(sink) };
    if let velo_schema::Strategy::MegaBatch { parallel, reuse_buffer, .. } = &mut sink.strategy {
        (*parallel, *reuse_buffer) = (true, true);
    }
    Effective {
        source: Config { transaction_batches, ..batches_of(source) },
        job: Config { transaction_batches, ..without_batches(job) },
        sink: Config { transaction_batches, ..sink },
    }
}

/// Two values of a key that differ from each other.
fn values(def: &KeyDef) -> Vec<String> {
    match def.kind {
        Kind::Topic => vec!["letters-a".into(), "letters.b".into()],
        Kind::Integer { min, max, .. } => {
            let low = min.max(1);
            vec![(low + 1).min(max).to_string(), (low + 7).min(max).to_string()]
        }
        Kind::Duration { .. } => vec!["70ms".into(), "3s".into()],
        _ => def.kind.words().into_iter().map(str::to_owned).collect(),
    }
}

const SCOPES: &[&str] =
    &["", "source.", "sink.", "orders.", "prod.orders.", "PROD.Orders.", "s.", "Out.", "j."];

/// An entry: its key with its scope, and its value.
fn entry() -> impl Strategy<Value = (String, String)> {
    (0..KEYS.len(), 0..SCOPES.len(), any::<prop::sample::Index>()).prop_map(|(key, scope, value)| {
        let def = &KEYS[key];
        let scope = if def.scopes == Scopes::JobOnly { "" } else { SCOPES[scope] };
        let values = values(def);
        (format!("{scope}{}", def.name), value.get(&values).clone())
    })
}

/// Entries that are not ours, or not quite.
fn other() -> impl Strategy<Value = (String, String)> {
    let keys = vec![
        "failure_stratgy",
        "dlq_topic",
        "max_retrys",
        "max-retries",
        "soruce.failure_strategy",
        "snk.batch.size",
        "clicks.dlq.topic",
        "orders.topic",
        "source.topic",
        "Orders.Topic",
        "linger.ms",
        "Batch.Size",
        "source.topic.name",
    ];
    prop::sample::select(keys).prop_map(|key: &str| (key.to_owned(), "5".to_owned()))
}

const STATEMENTS: &[&str] = &[
    "CREATE STREAM s AS SELECT * FROM prod.orders WITH (@);",
    "CREATE STREAM s AS SELECT * FROM \"prod.orders\" EMIT CHANGES INTO out WITH (@);",
    "START JOB j AS INSERT INTO out SELECT * FROM prod.orders WITH (@);",
];

fn sql(statement: &str, entries: &[(String, String)]) -> String {
    let entries: Vec<_> = entries.iter().map(|(key, value)| format!("'{key}' = '{value}'")).collect();
    statement.replace('@', &entries.join(", "))
}

fn read(sql: &str) -> Document {
    Document::read_to_run("job.sql", sql, Language::Sql, &NoFiles, velo_lint::Variables::default())
}

/// Checks every entry of a statement; how many there were, none if it is refused as a whole.
fn check_entries(
    statement: &str,
    all: &[(String, String)],
    exactly_once: bool,
) -> Result<usize, TestCaseError> {
    let text = sql(statement, all);
    let document = read(&text);
    let options = Options::default();
    let unit = document.units(&options).next().expect("a statement");
    let route = Route::first(&unit);
    if !document.errors().is_empty() || !refusals(&unit, &route).is_empty() {
        return Ok(0);
    }
    let unused = unused(&unit, &route, exactly_once);
    let before = effective(&unit, exactly_once);
    for (index, (key, value)) in all.iter().enumerate() {
        let at = unit.clauses[0].clause.entries[index].key.span.start;
        let is_reported = unused.iter().any(|unused| unused.span.range.start == at);
        let with = |new: Option<&String>| {
            let mut changed = all.to_vec();
            match new {
                Some(value) => changed[index].1.clone_from(value),
                None => drop(changed.remove(index)),
            }
            let text = sql(statement, &changed);
            let document = read(&text);
            let unit = document.units(&options).next().expect("a statement");
            effective(&unit, exactly_once)
        };
        let is_ours = |def: &&KeyDef| key.strip_suffix(def.name).is_some_and(|scope| SCOPES.contains(&scope));
        if is_reported {
            prop_assert_eq!(&with(None), &before, "'{}' is reported as unused in {}", key, text);
        } else if let Some(def) = KEYS.iter().find(is_ours) {
            let others = values(def).into_iter().filter(|other| other != value);
            let matters = others.map(|other| with(Some(&other))).any(|after| after != before);
            prop_assert!(matters, "'{key}' is neither in force nor reported in {text}");
        } else {
            let topic = route.endpoints().any(|endpoint| endpoint.topic.key.as_ref() == Some(key));
            prop_assert!(topic, "'{key}' is neither used nor reported in {text}");
        }
    }
    Ok(all.len())
}

#[test]
fn every_entry_is_in_force_or_reported() {
    let config = ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() };
    let clause = (
        prop::collection::vec(entry(), 1..7),
        prop::collection::vec(other(), 0..2),
        prop::sample::select(STATEMENTS),
        any::<bool>(),
    );
    let checked = Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&clause, |(mut entries, others, statement, exactly_once)| {
        entries.extend(others);
        checked.set(checked.get() + check_entries(statement, &entries, exactly_once)?);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(checked.get() > 800, "most clauses are refused: {} entries were checked", checked.get());
}

/// That a run along the first route is refused, and why.
fn refused(sql: &str) -> Vec<String> {
    let document = read(sql);
    let options = Options::default();
    let unit = document.units(&options).next().expect("a statement");
    let errors = document.errors().into_iter().map(|finding| finding.rule.to_owned());
    errors
        .chain(refusals(&unit, &Route::first(&unit)).into_iter().map(|refusal| refusal.to_string()))
        .collect()
}

#[test]
fn what_would_lose_records_is_refused_alone_and_beside_other_keys() {
    for (entry, meant) in [
        ("'failure_stratgy' = 'SendToDLQ'", "'failure_strategy'"),
        ("'failure-strategy' = 'SendToDLQ'", "'failure_strategy'"),
        ("'dlq_topic' = 'x'", "'dlq.topic'"),
        ("'max_retrys' = '5'", "'max_retries'"),
        ("'max.retries' = '5'", "'max_retries'"),
        ("'on_exausted' = 'SendToDLQ'", "'on_exhausted'"),
        ("'soruce.failure_strategy' = 'SendToDLQ'", "'source.failure_strategy'"),
        ("'SINK.dlq.topic' = 'x'", "'sink.dlq.topic'"),
        ("'ordrs.failure_strategy' = 'SendToDLQ'", "'orders.failure_strategy'"),
        ("'clicks.failure_strategy' = 'SendToDLQ'", "no source or sink called 'clicks'"),
        ("'orders.Topic' = 'x'", "'orders.topic'"),
        ("'type' = 'kafka', 'failure_strategy' = 'SendToDLQ'", "another system's"),
        ("max_retries = 5", "another system's"),
        ("'failure_strategy' = '${NONE}'", "${NONE} has no value"),
        ("'orders.topic' = 'a-${NONE}'", "${NONE} has no value"),
        ("'failure_strategy' = f(x)", "plain text"),
        ("'config_file' = 'http://x/y.yaml'", "http://x/y.yaml"),
        ("{% if x %} 'failure_strategy' = 'FailBatch' {% endif %}", "render"),
    ] {
        for beside in ["", ", 'batch.strategy' = 'fixed_size', 'batch.size' = '10'"] {
            let sql = format!("CREATE STREAM s AS SELECT * FROM orders WITH ({entry}{beside});");
            let refused = refused(&sql);
            let is_meant = |why: &String| {
                why.contains(meant) || ["near-miss-key", "unknown-key"].contains(&why.as_str())
            };
            // Beside quoted keys, an unquoted one is ours.
            let is_ours = entry == "max_retries = 5" && !beside.is_empty();
            assert!(refused.iter().any(is_meant) != is_ours, "{sql}: {refused:?}");
        }
    }
    assert_eq!(refused("CREATE STREAM s AS SELECT * FROM ${NONE}_in WITH ('batch.size' = '5');").len(), 1);
    assert_eq!(
        refused("CREATE STREAM s AS SELECT * FROM orders WITH ('linger.ms' = '5', 'batch.size' = '5');")
            .len(),
        0
    );
}

#[test]
fn a_comment_that_silences_a_finding_does_not_make_it_right() {
    let sql = "-- velo: allow-file(near-miss-key, out-of-range)\n\
               CREATE STREAM s AS SELECT * FROM orders WITH ('failure_stratgy' = 'SendToDLQ', 'batch.size' = '0');";
    let document = read(sql);
    assert!(document.check(&Options::default()).iter().all(|finding| finding.rule != "out-of-range"));
    let errors: Vec<_> = document.errors().iter().map(|finding| finding.rule).collect();
    assert_eq!(errors, ["near-miss-key", "out-of-range"]);
}

#[test]
fn variables_fill_in_values_names_and_topics() {
    let sql = "CREATE STREAM ${ENV}_out AS SELECT * FROM ${ENV}.orders WITH (\n\
               'batch.size' = '${SIZE:-500}', '${ENV}' = 'x', 'dev.orders.batch.timeout' = '${WAIT:-${SLOW:-2s}}',\n\
               'sink.topic' = 'out-${ENV}', 'failure_strategy' = '${FATE:FailBatch}');";
    let of = |variables: &[(&str, &str)]| {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let document = Document::read_to_run("job.sql", sql, Language::Sql, &NoFiles, variables);
        let options = Options::default();
        let unit = document.units(&options).next().expect("a statement");
        let route = Route::first(&unit);
        let errors: Vec<_> =
            document.errors().iter().map(|finding| (finding.rule, finding.span.start)).collect();
        let topics: Vec<_> = route.endpoints().map(|endpoint| endpoint.topic.name.clone()).collect();
        let value = |key| route.at_source.get(key).value.as_ref().map(ToString::to_string);
        let values = [Key::BatchSize, Key::BatchTimeout, Key::FailureStrategy].map(value);
        (topics, values.map(Option::unwrap_or_default), errors, refusals(&unit, &route).len())
    };
    let (topics, values, errors, refused) = of(&[("ENV", "dev")]);
    assert_eq!(topics, [Some("dev.orders".to_owned()), Some("out-dev".to_owned())]);
    assert_eq!(values, ["500", "2s", "FailBatch"]);
    assert_eq!((errors.len(), refused), (0, 0));
    let (_, values, ..) = of(&[("ENV", "dev"), ("SIZE", "50"), ("WAIT", "9ms"), ("FATE", "SendToDLQ")]);
    assert_eq!(values, ["50", "9ms", "SendToDLQ"]);
    let (_, _, errors, _) = of(&[("ENV", "dev"), ("SIZE", "many")]);
    assert_eq!(errors, [("wrong-type", sql.find("${SIZE").expect("there"))]);
    let (topics, .., refused) = of(&[]);
    assert_eq!((topics, refused), (vec![None, None], 2));
}
