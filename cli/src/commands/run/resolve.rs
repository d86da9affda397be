//! Resolves a statement: its route and the arguments in, a [`Job`] or the reason why it cannot run out.

use anyhow::{Result, anyhow, bail};
use velo_engine::JobConfig;
use velo_lint::unused::Reason;
use velo_lint::{Endpoint, Route, Unit, Unused, unused};
use velo_schema::value::{Kind, parse};
use velo_schema::{Plan, Settings, Strategy};

use super::job::Job;
use crate::args::RunArgs;
use crate::dead_letters;

pub(super) fn job(unit: &Unit<'_>, route: &Route, args: &RunArgs) -> Result<Job> {
    let (Some(source), Some(sink)) = (&route.source, &route.sink) else {
        bail!("it has no {}", if route.source.is_none() { "source" } else { "sink" });
    };
    if unit.statement.sinks().len() > 1 {
        bail!("it has several sinks, but velo run writes to one");
    }
    let (source_topic, sink_topic) = (topic_of(source)?, topic_of(sink)?);
    let [source_config, job_config, sink_config] =
        [&route.at_source, &route.in_job, &route.at_sink].map(Settings::config);
    let dlq_topics = dead_letters::topics(route);
    let batches = job_config.transaction_batches;
    if batches > 1 && matches!(source_config.strategy, Strategy::MegaBatch { parallel: true, .. }) {
        bail!(
            "transaction.batches is {batches}, which requires batches in order, but batch.parallel is true; \
             set 'batch.parallel' = 'false' or 'transaction.batches' = '1'"
        );
    }
    if source_topic == sink_topic {
        bail!("the source and the sink are the same topic '{source_topic}'; set 'sink.topic' to another one");
    }
    for (stage, topic) in dead_letters::by_name(&dlq_topics) {
        let Some(topic) = topic else { continue };
        parse(Kind::Topic, topic).map_err(|error| anyhow!("dead letter topic '{topic}': {error}"))?;
        if *topic == source_topic {
            bail!("the dead letter topic of the {stage} stage is the source, '{topic}'; set 'dlq.topic'");
        }
        if *topic == sink_topic {
            bail!("the dead letter topic of the {stage} stage is the sink, '{topic}'; set 'dlq.topic'");
        }
    }
    Ok(Job {
        statement: unit.statement.name.as_ref().map(|name| name.text.clone()).unwrap_or_default(),
        plan: Plan::of(&source_config, None),
        config: JobConfig {
            source: source_config,
            sink: sink_config,
            format: args.value_format.into(),
            drain_timeout: args.drain_timeout,
            exactly_once: args.exactly_once,
            max_batch_time: args.max_batch_time,
            warm_up: args.warm_up,
            ..JobConfig::uniform(job_config)
        },
        source_topic,
        sink_topic,
        dlq_topics,
        notes: notes(unit, route, args.exactly_once),
    })
}

/// Returns the topic of a source or sink.
///
/// # Errors
/// If the topic is unknown or Kafka does not allow its name.
fn topic_of(endpoint: &Endpoint) -> Result<String> {
    let topic = &endpoint.topic;
    let Some(name) = &topic.name else {
        bail!("the topic of '{0}' is unknown; set it with '{0}.topic'", endpoint.name)
    };
    if let Some(error) = topic.error() {
        match &topic.key {
            Some(key) => bail!("'{key}' = '{name}': {error}"),
            None => bail!("'{name}': {error}; set the topic with '{name}.topic'"),
        }
    }
    Ok(name.clone())
}

/// Returns the settings that the run does not use, with the reasons.
fn notes(unit: &Unit<'_>, route: &Route, exactly_once: bool) -> Vec<String> {
    let (others, ours): (Vec<_>, Vec<_>) =
        unused(unit, route, exactly_once).into_iter().partition(|unused| unused.why == Reason::Foreign);
    let mut notes: Vec<_> =
        ours.into_iter().map(|Unused { key, why, .. }| format!("'{key}' is not used: {why}")).collect();
    if !others.is_empty() {
        let keys: Vec<_> = others.into_iter().map(|unused| unused.key).collect();
        notes.push(format!("settings of other systems are ignored: {}", keys.join(", ")));
    }
    for endpoint in route.endpoints() {
        let of_uri = endpoint.uri.as_ref().filter(|uri| uri.matches('/').count() > 2);
        if let Some(uri) = of_uri {
            notes.push(format!("the broker in '{uri}' is ignored: --bootstrap-servers sets the brokers"));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use clap::Parser;
    use velo_engine::core::failure::ByStage;
    use velo_lint::{Document, Language, NoFiles, Options, Variables};

    use super::*;
    use crate::args::{Cli, Command};
    use crate::commands::run::announce::failures;
    use crate::query;
    use crate::statement::refuse;

    fn job_of(sql: &str, more: &[&str]) -> Result<Job> {
        let args = ["velo", "run", "job.sql", "--bootstrap-servers", "localhost:1"];
        let Command::Run(args) = Cli::parse_from(args.iter().chain(more)).command else {
            panic!("not a run")
        };
        let document = Document::read_to_run("job.sql", sql, Language::Sql, &NoFiles, Variables::default());
        let options = Options::default();
        let unit = document.units(&options).next().context("a statement")?;
        query::check(unit.text, unit.statement)?;
        let route = Route::first(&unit);
        refuse(&document, &unit, &route)?;
        job(&unit, &route, &args)
    }

    #[test]
    fn every_stage_has_its_failure_strategy_and_dead_letter_topic() {
        let sql = "CREATE STREAM s AS SELECT * FROM \"prod.orders\" INTO out WITH ('failure_strategy' = 'SendToDLQ', \
                   'dlq.topic' = 'a', 'source.dlq.topic' = 'b', 'out.failure_strategy' = 'FailBatch')";
        let job = job_of(sql, &[]).expect("a job");
        assert_eq!((job.source_topic.as_str(), job.sink_topic.as_str()), ("prod.orders", "out"));
        let ByStage { decode, process, write } = &job.dlq_topics;
        assert_eq!([decode.as_deref(), process.as_deref(), write.as_deref()], [Some("b"), Some("a"), None]);
        assert_eq!(failures(&job), "decode SendToDLQ (b), process SendToDLQ (a), write FailBatch");
        assert_eq!(job.notes, [] as [&str; 0]);
    }

    #[test]
    fn unused_settings_are_reported_with_the_reason() {
        let sql = "CREATE STREAM s AS SELECT * FROM kafka://broker:9092/orders INTO out WITH ( \
                   'batch.window' = '5s', 'batch.size' = '5', 's.batch.size' = '7', 'source.batch.size' = '8', \
                   'sink.batch.size' = '9', 'max_retries' = '5', 'dlq.topic' = 'x', 'transaction.batches' = '2', \
                   'orders.topic' = 'here', 'source.topic' = 'there', 'linger.ms' = '5', 'Batch.Size' = '5')";
        let job = job_of(sql, &[]).expect("a job");
        assert_eq!(job.source_topic, "here");
        assert_eq!(
            job.notes,
            [
                "'batch.window' is not used: fixed_size does not read it",
                "'batch.size' is not used: narrower scopes override it",
                "'s.batch.size' is not used: 's' is neither the source nor the sink",
                "'max_retries' is not used: LogAndContinue does not retry",
                "'dlq.topic' is not used: LogAndContinue sends nothing to a dead letter queue",
                "'transaction.batches' is not used: only --exactly-once has transactions",
                "'Batch.Size' is not used: did you mean 'batch.size'?",
                "'source.topic' is not used: 'orders.topic' overrides it",
                "settings of other systems are ignored: linger.ms",
                "the broker in 'kafka://broker:9092/orders' is ignored: --bootstrap-servers sets the brokers",
            ]
        );
        let notes = job_of(sql, &["--exactly-once"]).expect("a job").notes;
        assert!(
            notes.iter().any(|note| note.starts_with("'sink.batch.size' is not used: with --exactly-once"))
        );
    }

    #[test]
    fn topics_that_form_a_loop_or_have_invalid_names_are_rejected() {
        for (sql, reason) in [
            ("CREATE STREAM s AS SELECT * FROM s", "the source and the sink are the same topic 's'"),
            (
                "CREATE STREAM s AS SELECT * FROM t WITH ('sink.topic' = 't')",
                "the source and the sink are the same topic 't'",
            ),
            (
                "CREATE STREAM \"t.dlq\" AS SELECT * FROM t WITH ('sink.failure_strategy' = 'SendToDLQ')",
                "the dead letter topic of the write stage is the sink, 't.dlq'",
            ),
            (
                "CREATE STREAM s AS SELECT * FROM t WITH ('source.failure_strategy' = 'SendToDLQ', 'source.dlq.topic' = 't')",
                "the dead letter topic of the decode stage is the source, 't'",
            ),
            ("CREATE STREAM s AS SELECT * FROM \"a b\"", "set the topic with 'a b.topic'"),
            ("CREATE STREAM s AS SELECT * FROM t WITH ('t.topic' = 'a/b')", "'t.topic' = 'a/b'"),
            ("CREATE STREAM s AS SELECT * FROM file:///x/y", "'file:///x/y'"),
            ("CREATE STREAM s AS SELECT * FROM t JOIN u ON true", "JOIN"),
        ] {
            let error = job_of(sql, &[]).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(reason), "{sql}: {error}");
        }
    }
}
