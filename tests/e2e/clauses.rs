//! What a clause says, as plan shows it and as run and advise refuse it. No broker is reached.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

struct Job(TempDir);

impl Job {
    fn new(sql: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("job.sql"), sql).expect("written");
        Self(folder)
    }

    fn velo(&self, args: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_velo"))
            .current_dir(self.0.path())
            .args(args)
            .envs(environment.iter().copied())
            .output()
            .expect("it runs")
    }

    fn plan(&self, args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, Vec<Json>) {
        let output = self.velo(&[&["plan", "--format", "json", "job.sql"], args].concat(), environment);
        let plan = serde_json::from_slice(&output.stdout).expect("an array of plans");
        (output.status.code(), plan)
    }

    /// What run and advise answer to a statement that they refuse.
    fn refused(&self, args: &[&str]) -> [String; 2] {
        let brokers = ["--bootstrap-servers", "127.0.0.1:1"];
        [["run", "job.sql"].as_slice(), &["advise", "--sql", "job.sql"]].map(|command| {
            let output = self.velo(&[command, &brokers, args].concat(), &[]);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{command:?}: {stderr}");
            stderr
        })
    }
}

const BATCHES: &str = "'batch.strategy' = 'fixed_size', 'batch.size' = '9', 'batch.timeout' = '1s'";

#[test]
fn a_plan_has_a_row_for_each_source() {
    let job = Job::new(&format!(
        "CREATE STREAM s AS SELECT EXTRACT(HOUR FROM o.ts) FROM prod.orders o JOIN \"eu.users\" u ON o.a = u.a\n\
         INTO out WITH ({BATCHES}, 'prod.orders.batch.size' = '7', 'users.topic' = 'x', 'eu.users.topic' = 'people',\n\
         'failure_strategy' = 'SendToDLQ', 'eu.users.dlq.topic' = 'users.dead');\n\
         INSERT INTO copies SELECT * FROM originals;"
    ));
    let (code, rows) = job.plan(&[], &[]);
    assert_eq!(code, Some(0));
    let of = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("statement"), ["s", "s", "copies"]);
    assert_eq!(of("source"), ["prod.orders", "eu.users", "originals"]);
    assert_eq!(of("source_topic"), ["prod.orders", "people", "originals"]);
    assert_eq!(of("sink"), ["out", "out", "copies"]);
    assert_eq!(
        (&rows[0]["max_poll_records"]["max"], &rows[1]["max_poll_records"]["max"]),
        (&Json::from(7), &Json::from(9))
    );
    assert_eq!(rows[0]["dlq_topics"]["decode"], "prod.orders.dlq");
    assert_eq!(rows[1]["dlq_topics"]["decode"], "users.dead");
    assert_eq!(rows[1]["dlq_topics"]["write"], "people.dlq");
    assert_eq!(rows[2]["dlq_topics"]["write"], Json::Null);
    let table = job.velo(&["plan", "job.sql"], &[]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("from prod.orders") && table.contains("from eu.users"), "{table}");
}

#[test]
fn a_statement_with_an_error_does_not_hide_the_others() {
    let job = Job::new(&format!(
        "CREATE STREAM a AS SELECT * FROM x WITH ({BATCHES});\n\
         -- velo: allow(unknown-key)\n\
         CREATE STREAM b AS SELECT * FROM y WITH ('batch.sise' = '5');\n\
         CREATE STREAM c AS SELECT * FROM z WITH ('dlq_topic' = 'x');\n\
         CREATE STREAM d AS SELECT * FROM w WITH ({BATCHES});"
    ));
    let output = job.velo(&["plan", "--format", "json", "job.sql"], &[]);
    let rows: Vec<Json> = serde_json::from_slice(&output.stdout).expect("an array");
    let names: Vec<_> = rows.iter().map(|row| row["statement"].clone()).collect();
    assert_eq!((output.status.code(), names), (Some(1), vec!["a".into(), "d".into()]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("[unknown-key]") && stderr.contains("'dlq.topic'"), "{stderr}");
    for sql in ["", "SELECT 1;"] {
        assert_eq!(Job::new(sql).plan(&[], &[]), (Some(0), vec![]), "{sql}");
    }
    let (code, rows) =
        Job::new("CREATE STREAM b AS SELECT * FROM y WITH ('batch.size' = '0');").plan(&[], &[]);
    assert_eq!((code, rows), (Some(1), vec![]));
    let output = job.velo(&["plan", "--format", "json", "missing.sql", "job.sql"], &[]);
    let rows: Vec<Json> = serde_json::from_slice(&output.stdout).expect("an array");
    assert_eq!((output.status.code(), rows.len()), (Some(2), 2));
}

#[test]
fn placeholders_are_filled_in_from_var_then_the_environment_then_the_default() {
    let job = Job::new(
        "CREATE STREAM s AS SELECT * FROM orders WITH ('batch.strategy' = 'fixed_size',\n\
         'batch.size' = '${VELO_TEST_SIZE:-500}', 'failure_strategy' = '${VELO_TEST_FATE}');",
    );
    let size = |args: &[&str], environment: &[(&str, &str)]| {
        let (code, rows) = job.plan(args, environment);
        assert_eq!(code, Some(0));
        (rows[0]["max_poll_records"]["max"].as_u64(), rows[0]["open"].as_array().map_or(9, Vec::len))
    };
    assert_eq!(size(&[], &[]), (Some(500), 1));
    assert_eq!(size(&[], &[("VELO_TEST_SIZE", "50"), ("VELO_TEST_FATE", "FailBatch")]), (Some(50), 0));
    assert_eq!(size(&["--var", "VELO_TEST_SIZE=7"], &[("VELO_TEST_SIZE", "50")]), (Some(7), 1));
    let (_, rows) = job.plan(&[], &[]);
    let open = &rows[0]["open"][0];
    assert_eq!(
        (&open["key"], &open["placeholder"]),
        (&"failure_strategy".into(), &"${VELO_TEST_FATE}".into())
    );
    assert_eq!((&open["line"], &open["file"]), (&Json::from(2), &"job.sql".into()));
    for stderr in job.refused(&[]) {
        assert!(
            stderr.contains("job.sql:2:64: 'failure_strategy': ${VELO_TEST_FATE} has no value"),
            "{stderr}"
        );
    }
    for stderr in job.refused(&["--var", "VELO_TEST_FATE=FailBatch", "--var", "VELO_TEST_SIZE=many"]) {
        assert!(
            stderr.contains("'many' is not a whole number") && stderr.contains("job.sql:2:17"),
            "{stderr}"
        );
    }
}

#[test]
fn what_would_not_do_what_it_says_is_refused() {
    for (entries, reason) in [
        ("'failure_stratgy' = 'SendToDLQ'".to_owned(), "did you mean 'failure_strategy'?"),
        (format!("{BATCHES}, 'failure_stratgy' = 'SendToDLQ'"), "did you mean 'failure_strategy'?"),
        ("'dlq_topic' = 'x'".to_owned(), "did you mean 'dlq.topic'?"),
        (format!("{BATCHES}, 'max_retrys' = '5'"), "did you mean 'max_retries'?"),
        (
            format!("{BATCHES}, 'soruce.failure_strategy' = 'FailBatch'"),
            "did you mean 'source.failure_strategy'?",
        ),
        (format!("{BATCHES}, 'snk.batch.size' = '5'"), "did you mean 'sink.batch.size'?"),
        (format!("{BATCHES}, 'orders.Topic' = 'x'"), "did you mean 'orders.topic'?"),
    ] {
        let job = Job::new(&format!(
            "-- velo: allow-file(near-miss-key)\nCREATE STREAM s AS SELECT * FROM orders WITH ({entries});"
        ));
        for stderr in job.refused(&[]) {
            assert!(stderr.contains(reason) && stderr.contains("job.sql:2:"), "{entries}: {stderr}");
        }
    }
}

#[test]
fn a_job_whose_statement_names_a_missing_file_does_not_start() {
    let job = Job::new(
        "CREATE STREAM s AS SELECT * FROM orders WITH ('config_file' = 'd.yaml', 'failure_strategy' = 'FailBatch');",
    );
    for stderr in job.refused(&[]) {
        assert!(stderr.contains("d.yaml: there is no such file"), "{stderr}");
    }
}
