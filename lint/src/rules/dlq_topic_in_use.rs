//! `dlq-topic-in-use`: dead letters where records are read or written.

use rustc_hash::FxHashMap as HashMap;
use serde::Serialize;
use velo_schema::Side;
use velo_schema::keys::Key;
use velo_schema::value::Value;

use crate::rule::{Found, Rule, per_scope};
use crate::severity::Severity;
use crate::topics::topic;
use crate::unit::Unit;

/// `dlq.topic` is a topic that the statement reads or writes.
pub const RULE: Rule = Rule {
    id: "dlq-topic-in-use",
    severity: Severity::Error,
    summary: "`dlq.topic` is a topic that the statement reads or writes.",
    why: "If dead letters are written to the source, they are read again, fail again and are written again, without end. If they are written to the sink, unprocessed records are mixed with the results.",
    example: "CREATE STREAM s AS SELECT * FROM orders WITH ('failure_strategy' = 'SendToDLQ', 'dlq.topic' = 'orders')",
    better: "CREATE STREAM s AS SELECT * FROM orders WITH ('failure_strategy' = 'SendToDLQ', 'dlq.topic' = 'orders.dlq')",
    check: |unit, out| {
        let topics = topics(unit);
        per_scope(
            unit,
            &RULE,
            out,
            &[Key::FailureStrategy, Key::OnExhausted, Key::DlqTopic],
            |scope, config| {
                let dlq = config.dlq_topic.clone().filter(|_| config.failure.uses_dlq())?;
                let is_source = *topics.get(&dlq)?;
                let item = unit.effective(scope, Key::DlqTopic)?;
                Some((item.value_span.clone(), DlqTopicInUse { topic: dlq, is_source }, None))
            },
        );
    },
};

/// Dead letters are written to a topic that the statement reads or writes.
#[derive(Debug, Serialize)]
struct DlqTopicInUse {
    /// The topic.
    topic: String,
    /// Whether it is read, else written.
    is_source: bool,
}

impl Found for DlqTopicInUse {
    fn message(&self) -> String {
        match self {
            Self { topic, is_source: true } => {
                format!(
                    "dead letters are written to '{topic}', which the statement reads: they would be read and fail again without end"
                )
            }
            Self { topic, is_source: false } => {
                format!(
                    "dead letters are written to '{topic}', which is the topic of the statement's results"
                )
            }
        }
    }
}

/// The topics of a statement, and whether each is read.
fn topics(unit: &Unit<'_>) -> HashMap<String, bool> {
    debug_assert!(matches!(Key::DlqTopic.def().parse("a").map(|parsed| parsed.value), Ok(Value::Topic(_))));
    let (sources, sinks) = (unit.statement.sources(), unit.statement.sinks());
    let named = sources.into_iter().chain(sinks).map(|name| (name.text.as_str(), name.is_sink));
    // A fragment without a query may still say its topics.
    let unnamed = [("", false), ("", true)];
    let mut topics = HashMap::default();
    for (name, is_sink) in named.chain(unnamed) {
        let side = if is_sink { Side::Sink } else { Side::Source };
        if let Some(topic) = topic(unit, name, side).name.filter(|topic| !topic.is_empty()) {
            *topics.entry(topic).or_insert(false) |= !is_sink;
        }
    }
    topics
}
