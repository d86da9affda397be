//! Plans as a table for people and as JSON for machines.

use std::io::IsTerminal;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};
use schemars::JsonSchema;
use serde::Serialize;
use terminal_size::Width;
use velo_engine::core::failure::ByStage;
use velo_lint::refusal::Why;
use velo_lint::{Endpoint, Position, Route, Unit};
use velo_schema::guide::UseCase;
use velo_schema::plan::NearestRow;
use velo_schema::settings::Setting;
use velo_schema::{Config, Plan, Settings, Span, StrategyKind, Tier, format_duration};

/// A statement's plan, as `velo plan --format json` prints it in an array.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JsonPlan {
    /// The statement's name; null for a clause on its own.
    pub statement: Option<String>,
    pub file: String,
    /// The line that the statement begins at, from 1.
    pub line: usize,
    /// Null where batching is disabled.
    strategy: Option<StrategyKind>,
    /// Records per batch.
    batch_size: Span,
    /// Records per poll.
    max_poll_records: Span,
    tier: Tier,
    /// Records per second that the guide expects; null where it says nothing.
    throughput: Option<Span>,
    /// Milliseconds that the guide expects; null where it says nothing.
    latency_ms: Option<Span>,
    /// The longest that a record can wait for its batch to be sealed.
    max_wait_ms: u64,
    /// The row of the decision matrix that this is.
    matrix_row: Option<UseCase>,
    /// The nearest row, where it is none.
    nearest_row: Option<NearestRow>,
    failure: JsonFailure,
    /// Every key as it holds for the source, which shapes the poll.
    settings: Vec<JsonSetting>,
    /// The source that this row is about, a row for each; null for a clause on its own.
    source: Option<String>,
    /// The topic that is read; null if it is not known.
    source_topic: Option<String>,
    /// The sink; null for a clause on its own.
    sink: Option<String>,
    /// The topic that is written; null if it is not known.
    sink_topic: Option<String>,
    dlq_topics: JsonDlqTopics,
    /// What only a variable could give: these settings have their defaults here.
    open: Vec<JsonOpen>,
}

/// The dead letter topic of each stage; null for a stage that sends no record there.
#[derive(Debug, Serialize, JsonSchema)]
struct JsonDlqTopics {
    decode: Option<String>,
    process: Option<String>,
    write: Option<String>,
}

/// A setting or a name that has no value yet.
#[derive(Debug, Serialize, JsonSchema)]
struct JsonOpen {
    /// Null for the name of a source or sink.
    key: Option<String>,
    /// As written; null if no placeholder is the reason.
    placeholder: Option<String>,
    /// Why it has no value.
    message: String,
    file: String,
    /// Line, from 1.
    line: usize,
    /// Column in Unicode scalar values, from 1.
    column: usize,
}

/// What follows a failure, by side.
#[derive(Debug, Serialize, JsonSchema)]
struct JsonFailure {
    job: JsonFailureSide,
    source: JsonFailureSide,
    sink: JsonFailureSide,
}

#[derive(Debug, Serialize, JsonSchema)]
struct JsonFailureSide {
    strategy: velo_schema::FailureStrategy,
    max_retries: u64,
    retry_backoff_ms: u64,
}

/// A key's value and where it comes from.
#[derive(Debug, Serialize, JsonSchema)]
struct JsonSetting {
    key: &'static str,
    /// Null for a default that depends on the job (`dlq.topic`).
    value: Option<String>,
    /// `default`, or the scope that sets it: `job`, `source`, `sink` or a name.
    origin: String,
    /// The values that it overrode, with their scopes.
    overrode: Vec<JsonOverridden>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct JsonOverridden {
    value: String,
    origin: String,
}

/// Everything that a plan is printed from.
pub(crate) struct PlanView {
    pub statement: Option<String>,
    pub file: String,
    pub line: usize,
    pub plan: Plan,
    pub source: Settings,
    pub job: Config,
    pub sink: Config,
    pub from: Option<Endpoint>,
    pub to: Option<Endpoint>,
    pub dlq_topics: ByStage<Option<String>>,
    /// What only a variable could give, with its file, line and column.
    pub open: Vec<(Why, String, Position)>,
}

impl PlanView {
    pub(crate) fn json(&self) -> JsonPlan {
        let plan = &self.plan;
        JsonPlan {
            statement: self.statement.clone(),
            file: self.file.clone(),
            line: self.line,
            strategy: plan.strategy,
            batch_size: plan.batch_records,
            max_poll_records: plan.max_poll_records,
            tier: plan.tier,
            throughput: plan.guide_records_per_s,
            latency_ms: plan.guide_latency_ms,
            max_wait_ms: ms(plan.max_wait),
            matrix_row: plan.matrix_row,
            nearest_row: plan.nearest_row,
            failure: JsonFailure {
                job: failure(&self.job),
                source: failure(&self.source.config()),
                sink: failure(&self.sink),
            },
            settings: self.source.iter().map(setting).collect(),
            source: self.from.as_ref().map(|source| source.name.clone()),
            source_topic: self.from.as_ref().and_then(|source| source.topic.name.clone()),
            sink: self.to.as_ref().map(|sink| sink.name.clone()),
            sink_topic: self.to.as_ref().and_then(|sink| sink.topic.name.clone()),
            dlq_topics: JsonDlqTopics {
                decode: self.dlq_topics.decode.clone(),
                process: self.dlq_topics.process.clone(),
                write: self.dlq_topics.write.clone(),
            },
            open: self.open.iter().map(open).collect(),
        }
    }

    /// The statement, its place, its source, and what is open.
    fn head(&self) -> String {
        let name = self.statement.clone().unwrap_or_else(|| "(clause)".to_owned());
        let mut head = format!("{name}\n{}:{}", self.file, self.line);
        if let Some(source) = &self.from {
            head += &format!("\nfrom {}", source.name);
            if let Some(topic) = source.topic.name.as_ref().filter(|topic| **topic != source.name) {
                head += &format!(" (topic {topic})");
            }
        }
        for (why, ..) in &self.open {
            head += &match why {
                Why::Open { key: Some(key), placeholder } => format!("\nopen: {key} = {placeholder}"),
                Why::Open { key: None, placeholder } => format!("\nopen: {placeholder}"),
                other => format!("\nopen: {other}"),
            };
        }
        head
    }

    fn row(&self) -> Vec<String> {
        let plan = &self.plan;
        let span = |span: Option<Span>, unit: &str| span.map_or("-".to_owned(), |s| format!("{s} {unit}"));
        let row = match (plan.matrix_row, plan.nearest_row) {
            (Some(row), _) => row.word().to_owned(),
            (None, Some(NearestRow { row, size_factor })) => {
                format!("off; nearest {}, ×{size_factor:.1}", row.word())
            }
            (None, None) => "off".to_owned(),
        };
        vec![
            self.head(),
            plan.strategy.map_or("(disabled)".to_owned(), |strategy| strategy.to_string()),
            plan.max_poll_records.to_string(),
            plan.tier.to_string(),
            format_duration(plan.max_wait),
            span(plan.guide_records_per_s, "/s"),
            span(plan.guide_latency_ms, "ms"),
            row,
            failures(self),
        ]
    }
}

/// The failure strategy of the job, and of a side where it differs.
fn failures(view: &PlanView) -> String {
    let job = view.job.failure.strategy;
    let mut text = job.to_string();
    for (side, config) in [("source", view.source.config()), ("sink", view.sink.clone())] {
        if config.failure.strategy != job {
            text += &format!("\n{side}: {}", config.failure.strategy);
        }
    }
    text
}

fn open((why, file, at): &(Why, String, Position)) -> JsonOpen {
    let (key, placeholder) = match why {
        Why::Open { key, placeholder } => (key.clone(), Some(placeholder.clone())),
        Why::NotText { key } => (Some(key.clone()), None),
        _ => (None, None),
    };
    let message = why.to_string();
    JsonOpen { key, placeholder, message, file: file.clone(), line: at.line, column: at.column }
}

fn failure(config: &Config) -> JsonFailureSide {
    JsonFailureSide {
        strategy: config.failure.strategy,
        max_retries: config.failure.max_retries,
        retry_backoff_ms: ms(config.failure.backoff),
    }
}

fn setting(setting: &Setting) -> JsonSetting {
    JsonSetting {
        key: setting.key.name(),
        value: setting.value.as_ref().map(ToString::to_string),
        origin: setting.origin.to_string(),
        overrode: setting
            .overrode
            .iter()
            .map(|entry| JsonOverridden { value: entry.value.to_string(), origin: entry.scope.to_string() })
            .collect(),
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A table as all of ours look.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = fitted(Table::new());
    table.load_style(UTF8_BORDERS_ONLY).set_header(header.to_vec());
    table
}

/// A table that is as wide as the terminal at most; elsewhere lines are as long as they have to be.
pub(crate) fn fitted(table: Table) -> Table {
    let size = terminal_size::terminal_size_of(std::io::stdout());
    let columns = size.filter(|_| std::io::stdout().is_terminal()).map(|(Width(columns), _)| columns);
    within(table, columns)
}

fn within(mut table: Table, columns: Option<u16>) -> Table {
    if let Some(columns) = columns {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
    table
}

pub(crate) fn plan_table(views: &[PlanView]) -> String {
    let mut table = table(&[
        "statement",
        "strategy",
        "max.poll.records",
        "tier",
        "longest wait",
        "throughput (guide)",
        "latency (guide)",
        "decision matrix",
        "on failure",
    ]);
    for view in views {
        table.add_row(view.row());
    }
    table.to_string()
}

/// Where one key's value comes from, for one statement.
pub(crate) fn explain(view: &PlanView, key: velo_schema::keys::Key) -> String {
    let setting = view.source.get(key);
    let value = setting.value.as_ref().map_or("(computed)".to_owned(), ToString::to_string);
    let name = view.statement.as_deref().unwrap_or("(clause)");
    let source = view.from.as_ref().map_or_else(String::new, |source| format!(", source {}", source.name));
    let mut text =
        format!("{name} ({}:{}{source}): {key} = {value}, from {}", view.file, view.line, setting.origin);
    for entry in setting.overrode.iter().rev() {
        text += &format!("; overrides {} from {}", entry.value, entry.scope);
    }
    text
}

/// What holds at the statement's first source, in the job and at the sink.
pub(crate) fn sides(unit: &Unit<'_>) -> (Settings, Config, Config) {
    let route = Route::first(unit);
    (route.at_source, route.in_job.config(), route.at_sink.config())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_the_terminal_at_most_and_whole_elsewhere() {
        let filled = |columns| {
            let mut table = within(Table::new(), columns);
            table.add_row(["orders", &"error ".repeat(30)]);
            table.to_string()
        };
        let width = |text: &str| text.lines().map(|line| line.chars().count()).max();
        assert!(width(&filled(Some(60))).is_some_and(|width| (40..=60).contains(&width)));
        assert!(width(&filled(None)) > Some(180));
    }
}
