//! Determines the dead letter topic of each stage of a route.

use velo_engine::core::failure::ByStage;
use velo_lint::Route;
use velo_schema::Settings;

/// Returns the dead letter topic of each stage, or `None` if the stage sends no dead letters. Source and sink inherit
/// `dlq.topic` from the job. The default is the source topic with the suffix `.dlq`.
pub(crate) fn topics(route: &Route) -> ByStage<Option<String>> {
    let source = route.source.as_ref().and_then(|source| source.topic.name.as_ref());
    let of = |settings: &Settings| {
        let config = settings.config();
        let by_default = || source.map(|source| format!("{source}.dlq"));
        config.failure.uses_dlq().then(|| config.dlq_topic.or_else(by_default)).flatten()
    };
    ByStage { decode: of(&route.at_source), process: of(&route.in_job), write: of(&route.at_sink) }
}

#[cfg(any(feature = "kafka", test))]
/// Returns names and values of the stages in the order of processing.
pub(crate) fn by_name<T>(stages: &ByStage<T>) -> [(&'static str, &T); 3] {
    [("decode", &stages.decode), ("process", &stages.process), ("write", &stages.write)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use velo_lint::{Document, Language, NoFiles, Options};

    fn of(clause: &str) -> [Option<String>; 3] {
        let sql = format!("CREATE STREAM s AS SELECT * FROM prod.orders WITH ({clause})");
        let document = Document::read("job.sql", &sql, Language::Sql, &NoFiles);
        let options = Options::default();
        let unit = document.units(&options).next().expect("a statement");
        by_name(&topics(&Route::first(&unit))).map(|(_, topic)| topic.clone())
    }

    #[test]
    fn every_scope_has_its_own_dead_letter_topic() {
        let some = |topic: &str| Some(topic.to_owned());
        assert_eq!(of("'batch.size' = '5'"), [None, None, None]);
        let by_default = some("prod.orders.dlq");
        assert_eq!(
            of("'failure_strategy' = 'SendToDLQ'"),
            [by_default.clone(), by_default.clone(), by_default.clone()]
        );
        assert_eq!(
            of(
                "'failure_strategy' = 'SendToDLQ', 'dlq.topic' = 'a', 'source.dlq.topic' = 'b', 'sink.dlq.topic' = 'c'"
            ),
            [some("b"), some("a"), some("c")]
        );
        assert_eq!(
            of("'failure_strategy' = 'SendToDLQ', 'prod.orders.dlq.topic' = 'n', 'source.dlq.topic' = 'b', \
                's.dlq.topic' = 'c'"),
            [some("n"), by_default, some("c")]
        );
        assert_eq!(
            of(
                "'sink.failure_strategy' = 'RetryWithBackoff', 'sink.on_exhausted' = 'SendToDLQ', 'dlq.topic' = 'a'"
            ),
            [None, None, some("a")]
        );
    }
}
