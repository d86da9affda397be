//! What the programs say to wrong input, and with which exit code.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

fn velo(args: &[&str]) -> Output {
    velo_in(Path::new("."), args)
}

fn velo_in(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velo"));
    command.current_dir(folder).args(args).stdin(Stdio::null()).output().expect("velo runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Lints a file of these bytes.
fn lint(bytes: &[u8]) -> Output {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("file.sql"), bytes).expect("written");
    velo_in(folder.path(), &["lint", "--verbose", "--format", "json", "file.sql"])
}

fn findings(output: &Output) -> Vec<Json> {
    serde_json::from_slice(&output.stdout).expect("an array of findings")
}

#[test]
fn input_that_is_no_sql_gets_an_answer_that_says_what_and_where() {
    let cases: [(&[u8], i32, &str); 8] = [
        (b"", 0, ""),
        (b"'''\"`/*", 0, ""),
        // Without settings of velo, these are skipped.
        (b"\x7fELF\x00\x01", 0, "skipped file.sql: is not a text file: zero byte at offset 4"),
        (b"SELECT\n'\xff'", 0, "skipped file.sql: is not UTF-8: the byte at offset 8 (line 2)"),
        (b"\xff\xfeS\x00", 0, "skipped file.sql: is UTF-16"),
        (b"WITH ('batch.size' = '5');\x00", 2, "file.sql: is not a text file: zero byte at offset 26"),
        (b"WITH ('batch.size' = '5');\n'\xff'", 2, "file.sql: is not UTF-8: the byte at offset 28 (line 2)"),
        (b"\xfe\xff\0W\0I\0T\0H\0(\0'\0b\0a\0t\0c\0h\0.\0s\0i\0z\0e\0'\0=\0'\x005\0'\0)", 2, "is UTF-16"),
    ];
    for (bytes, code, message) in cases {
        let output = lint(bytes);
        assert_eq!(output.status.code(), Some(code), "{bytes:?}");
        assert!(stderr(&output).contains(message), "{bytes:?}: {}", stderr(&output));
        assert_eq!(findings(&output).len(), 0);
    }
}

#[test]
fn a_missing_file_and_an_empty_directory_do_not_hide_the_others() {
    let folder = TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    std::fs::write(folder.path().join("a.sql"), "WITH ('batch.size' = 'x');").expect("written");
    let output = velo_in(folder.path(), &["lint", "--format", "json", "missing.sql", "empty", "a.sql"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("missing.sql: No such file"), "{}", stderr(&output));
    assert!(stderr(&output).contains("empty: no SQL, YAML"), "{}", stderr(&output));
    assert!(findings(&output).iter().any(|finding| finding["rule"] == "wrong-type"));
}

#[test]
fn brackets_without_end_and_large_files_are_read() {
    let _busy = crate::broker::busy();
    let brackets = "(".repeat(200_000) + "WITH ('batch.size' = '0');";
    let found = findings(&lint(brackets.as_bytes()));
    let error = found.iter().find(|finding| finding["rule"] == "out-of-range").expect("a finding");
    assert_eq!(error["start"]["column"], 200_000 + 23);

    let statement = "CREATE STREAM s AS SELECT * FROM t -- filler filler filler filler filler filler\n;";
    let mut large = statement.repeat((50 << 20) / statement.len());
    large += "WITH ('batch.sise' = '5');";
    let output = lint(large.as_bytes());
    let found = findings(&output);
    assert_eq!((output.status.code(), found.len()), (Some(1), 1));
    assert_eq!(found[0]["start"]["offset"].as_u64(), Some(large.len() as u64 - 19));
}

#[test]
fn stdin_is_a_file_like_any_other() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velo"));
    command.args(["lint", "-", "--format", "json", "--stdin-filename", "notes.md"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("velo runs");
    let text = "```sql\nWITH ('batch.size' = '1.5');\n```\nWITH ('batch.size' = 'prose')\n";
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("an end");
    let found = findings(&output);
    let errors: Vec<_> = found.iter().filter(|finding| finding["severity"] == "error").collect();
    assert_eq!(errors.len(), 1);
    assert_eq!((&errors[0]["file"], &errors[0]["start"]["line"]), (&Json::from("notes.md"), &Json::from(2)));
}

#[test]
fn fail_on_moves_the_line() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(
        folder.path().join("a.sql"),
        "WITH ('batch.enable' = 'yes', 'failure_strategy' = 'FailBatch')",
    )
    .expect("written");
    for (fail_on, code) in [("error", 0), ("warning", 1), ("info", 1)] {
        let output = velo_in(folder.path(), &["lint", "--fail-on", fail_on, "a.sql"]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    }
}

#[test]
fn a_query_that_is_more_than_select_star_is_refused_before_any_broker_is_asked() {
    let folder = TempDir::new().expect("a folder");
    let sql = "CREATE STREAM a AS SELECT x, COUNT(*) FROM b GROUP BY x WITH ('batch.size' = '5');";
    std::fs::write(folder.path().join("a.sql"), sql).expect("written");
    let output = velo_in(folder.path(), &["run", "a.sql", "--bootstrap-servers", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("the query uses GROUP BY"), "{}", stderr(&output));
}

#[test]
fn a_clause_with_errors_is_not_run() {
    let broker = crate::broker::embedded();
    broker.create("b", 1);
    let folder = TempDir::new().expect("a folder");
    let sql = "CREATE STREAM a AS SELECT * FROM b WITH ('sink.batch.size' = '0');";
    std::fs::write(folder.path().join("a.sql"), sql).expect("written");
    let output = velo_in(
        folder.path(),
        &["run", "a.sql", "--bootstrap-servers", &broker.address(), "--dry-run", "--until-end"],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("out of range"), "{}", stderr(&output));
}

#[test]
fn brokers_and_topics_that_are_not_there_are_named() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("a.sql"), "CREATE STREAM a AS SELECT * FROM nowhere;")
        .expect("written");
    let broker = crate::broker::real();
    let output = velo_in(folder.path(), &["run", "a.sql", "--bootstrap-servers", &broker.address()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no topic 'nowhere'"), "{}", stderr(&output));

    let output = velo_in(
        folder.path(),
        &["run", "a.sql", "--bootstrap-servers", &broker.address(), "-X", "max.poll.records=5"],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("librdkafka has no such property"), "{}", stderr(&output));
}

#[test]
fn an_unreachable_broker_is_named_with_the_reason() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("a.sql"), "CREATE STREAM a AS SELECT * FROM b;").expect("written");
    let output = velo_in(folder.path(), &["run", "a.sql", "--bootstrap-servers", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no broker answered"), "{}", stderr(&output));
    assert!(stderr(&output).contains("127.0.0.1:1"), "{}", stderr(&output));
}

#[test]
fn an_argument_that_is_no_value_is_refused_with_an_example() {
    for (arguments, reason) in [
        (["--cost", "banana"], "expected a cost per batch, per record or both, such as 2ms"),
        (["--concurrency", "0"], "expected a number of members from 1 to 65535"),
        (["--exec-timeout", "60"], "a duration needs a unit: 60ms or 60s?"),
        (["--memory-limit", "much"], "expected a size in bytes, such as"),
        (["--from", "latset"], "did you mean latest?"),
    ] {
        let output = velo(
            &[
                &["run", "a.sql", "--exec", "true"][..if arguments[0] == "--cost" { 2 } else { 4 }],
                &arguments,
            ]
            .concat(),
        );
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(reason), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn velo_advise_speaks_of_itself_by_its_own_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_velo-advise")).arg("--help").output().expect("it runs");
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(help.contains("Usage: velo-advise [OPTIONS]") && help.contains("Read and Describe"), "{help}");
}

#[test]
fn completions_schemas_and_lists_are_printed() {
    for (args, expected) in [
        (&["completions", "bash"][..], "_velo"),
        (&["schema"], "\"batch.strategy\""),
        (&["schema", "--draft", "7", "--lax"], "draft-07"),
        (&["schema", "--of", "lint"], "\"severity\""),
        (&["schema", "--of", "plan"], "\"max_poll_records\""),
        (&["schema", "--of", "run"], "\"ledger\""),
        (&["schema", "--of", "advise"], "\"recommendation\""),
        (&["keys"], "batch.low_latency_wait"),
        (&["keys", "batch.size"], "default   100"),
        (&["rules"], "duration-without-unit"),
        (&["rules", "unknown-key"], "The key is ignored without a message"),
    ] {
        let output = velo(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected), "{args:?}");
    }
    assert_eq!(velo(&["keys", "batch.sise"]).status.code(), Some(2));
}
