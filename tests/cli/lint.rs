//! `velo lint` as people and their CI use it: projects, fixes, formats; and the two check programs.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::support::{project, run, stderr, stdout, velo};

/// Rule, file and line of every finding.
fn places(output: &Output) -> Vec<(String, String, u64)> {
    let findings: Vec<Json> = serde_json::from_slice(&output.stdout).expect("an array of findings");
    let text = |value: &Json| value.as_str().expect("a text").replace('\\', "/");
    let place = |f: &Json| (text(&f["rule"]), text(&f["file"]), f["start"]["line"].as_u64().expect("a line"));
    findings.iter().filter(|finding| finding["severity"] != "info").map(place).collect()
}

fn place(rule: &str, file: &str, line: u64) -> (String, String, u64) {
    (rule.to_owned(), file.to_owned(), line)
}

const JOB: &str = "CREATE STREAM s AS SELECT * FROM orders\nWITH (\n    'batch.strategy' = 'FixedSize', -- by count\n    'batch.sise' = '500',\n    'failure_strategy' = 'FailBatch'\n);\n";

#[test]
fn findings_stand_in_the_file_that_caused_them() {
    let folder = project(&[
        (".git/HEAD", ""),
        ("configs/orders.yaml", "batch:\n  window: 5s\n  timeout: 1000\n"),
        ("configs/unused.yaml", "batch:\n  strategy: time_window\n  size: 5\nfailure_strategy: FailBatch\n"),
        (
            "sql/job.sql",
            "CREATE STREAM s AS SELECT * FROM orders\nWITH ('orders.config_file' = 'configs/orders.yaml',\n      'batch.strategy' = 'time_window', 'failure_strategy' = 'FailBatch');\n",
        ),
        ("sql/config.json", "{\"failure_strategy\": \"FailBatches\"}"),
    ]);
    let output = velo(&folder, &["lint", "--format", "json", "."]);
    assert_eq!(output.status.code(), Some(1));
    let expected = [
        // In the statement's context: the strategy is there, so the window is right and the timeout is not.
        place("inert-key", "configs/orders.yaml", 3),
        place("duration-without-unit", "configs/orders.yaml", 3),
        place("inert-key", "configs/unused.yaml", 3),
        place("unknown-failure-strategy", "sql/config.json", 1),
    ];
    // A file has one name, whoever names it.
    assert_eq!(places(&output), expected, "{}", stderr(&output));
}

#[test]
fn a_project_sets_levels_and_the_command_line_has_the_last_word() {
    let settings = "fail-on = 'warning'\n[rules]\nunknown-key = 'allow'\n";
    let folder = project(&[("velo.toml", settings), ("sql/job.sql", JOB)]);
    let lint = |args: &[&str]| velo(&folder, &[&["lint", "--format", "json", "sql/job.sql"], args].concat());
    let output = lint(&[]);
    assert_eq!(places(&output), [place("non-canonical-spelling", "sql/job.sql", 3)]);
    assert_eq!(output.status.code(), Some(1), "warnings fail here");
    assert_eq!(lint(&["--fail-on", "error"]).status.code(), Some(0));
    assert_eq!(places(&lint(&["--deny", "unknown-key"])).len(), 2);
    assert_eq!(places(&lint(&["--allow", "all"])).len(), 0);
    let wrong = lint(&["--deny", "unknown-keys"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("did you mean 'unknown-key'?"), "{}", stderr(&wrong));
}

#[test]
fn a_wrong_project_setting_is_an_error_with_its_place() {
    let folder = project(&[("velo.toml", "\n[rule]\n"), ("job.sql", JOB)]);
    let output = velo(&folder, &["lint", "job.sql"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("velo.toml:2:2: unknown setting 'rule'; did you mean 'rules'?"), "{message}");
}

#[test]
fn fixes_keep_everything_else_and_a_second_run_finds_nothing_to_mend() {
    let folder = project(&[("job.sql", JOB)]);
    let text = || fs::read_to_string(folder.path().join("job.sql")).expect("readable");
    let shown = velo(&folder, &["lint", "--diff", "job.sql"]);
    assert_eq!((shown.status.code(), text()), (Some(1), JOB.to_owned()), "a diff changes nothing");
    let diff = stdout(&shown);
    assert!(diff.contains("-    'batch.strategy' = 'FixedSize', -- by count\n+    'batch.strategy' = 'fixed_size', -- by count"), "{diff}");

    let safe = velo(&folder, &["lint", "--fix", "job.sql"]);
    assert_eq!(safe.status.code(), Some(1), "the unknown key is still there");
    assert_eq!(text(), JOB.replace("FixedSize", "fixed_size"));
    let all = velo(&folder, &["lint", "--fix", "--unsafe-fixes", "job.sql"]);
    assert_eq!(all.status.code(), Some(0), "{}", stdout(&all));
    let mended = JOB.replace("FixedSize", "fixed_size").replace("sise", "size");
    assert_eq!(text(), mended);
    let again = velo(&folder, &["lint", "--diff", "--unsafe-fixes", "job.sql"]);
    assert_eq!((again.status.code(), stdout(&again)), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn a_mended_file_keeps_its_permissions_and_leaves_nothing_beside_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = project(&[("sql/job.sql", JOB)]);
    let sql = folder.path().join("sql");
    fs::set_permissions(sql.join("job.sql"), fs::Permissions::from_mode(0o640)).expect("set");
    assert_eq!(velo(&folder, &["lint", "--fix", "sql/job.sql"]).status.code(), Some(1));
    let mode = fs::metadata(sql.join("job.sql")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "permissions stay");
    let left: Vec<_> = fs::read_dir(&sql).expect("readable").collect();
    assert_eq!(left.len(), 1, "nothing is left beside it");
}

#[test]
fn stdin_is_mended_to_stdout() {
    let args = ["lint", "--fix", "-"];
    let output = run(env!("CARGO_BIN_EXE_velo"), Path::new("."), &args, JOB);
    assert_eq!(stdout(&output), JOB.replace("FixedSize", "fixed_size"));
    assert!(stderr(&output).contains("unknown-key"));
}

#[test]
fn yaml_and_markdown_are_read_from_stdin_by_their_name() {
    let yaml = "batch:\n  strategy: turbo\n  mega_batch_size: 5\n";
    let args = ["lint", "--format", "json", "--stdin-filename", "job.yaml", "-"];
    let output = run(env!("CARGO_BIN_EXE_velo"), Path::new("."), &args, yaml);
    assert_eq!(
        places(&output),
        [place("unknown-strategy", "job.yaml", 2), place("out-of-range", "job.yaml", 3)]
    );
    let markdown = "# Job\n\n- ```yaml\n  batch:\n    strategy: turbo\n  ```\n";
    let args = ["lint", "--format", "json", "--stdin-filename", "job.md", "-"];
    let output = run(env!("CARGO_BIN_EXE_velo"), Path::new("."), &args, markdown);
    assert_eq!(places(&output), [place("unknown-strategy", "job.md", 5)]);
}

/// The official schema of SARIF, which the crate of its types carries.
fn sarif_schema() -> Json {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Json = serde_json::from_slice(&output.stdout).expect("metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "serde-sarif").expect("a dependency");
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    let schema = fs::read(manifest.with_file_name("src").join("schema.json")).expect("the schema");
    let mut schema: Json = serde_json::from_slice(&schema).expect("JSON");
    // The patterns of languages have a stray bracket, which is no regular expression to every reader.
    for object in ["run", "toolComponent"] {
        let language = schema["definitions"][object]["properties"]["language"].as_object_mut();
        assert!(language.expect("a schema").remove("pattern").is_some(), "mended: remove this");
    }
    schema
}

#[test]
fn sarif_is_what_its_schema_wants_and_points_at_the_right_place() {
    let sql =
        JOB.replace("-- by count", "/* ö */").replace("'batch.sise' = '500'", "'batch.memory_size' = '10MB'");
    let folder = project(&[
        ("a folder/jöb.sql", &sql),
        ("ok.sql", "SELECT 1;"),
        ("x.yaml", "batch: {sise: 5, strategy: turbo}\n"),
    ]);
    let output = velo(&folder, &["lint", "--format", "sarif", "a folder", "ok.sql", "x.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let log: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    let schema = sarif_schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<_> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let typed: serde_sarif::sarif::Sarif =
        serde_json::from_slice(&output.stdout).expect("the types of SARIF");
    assert_eq!(typed.version, "2.1.0");

    let run = &log["runs"][0];
    assert_eq!(run["columnKind"], "utf16CodeUnits");
    let results = run["results"].as_array().expect("results");
    let result = |rule: &str| {
        results.iter().find(|result| result["ruleId"] == rule).unwrap_or_else(|| panic!("{rule}"))
    };
    let size = result("size-with-unit");
    let location = &size["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "a%20folder/j%C3%B6b.sql");
    assert_eq!(
        (&location["region"]["startLine"], &location["region"]["startColumn"]),
        (&Json::from(4), &Json::from(28))
    );
    assert_eq!(size["fixes"].as_array().map(Vec::len), Some(2), "two readings");
    let index = usize::try_from(size["ruleIndex"].as_u64().expect("an index")).expect("small");
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "size-with-unit");
    // A line that moves keeps its fingerprint.
    fs::write(folder.path().join("a folder/jöb.sql"), format!("\n\n{sql}")).expect("written");
    let moved = velo(&folder, &["lint", "--format", "sarif", "a folder"]);
    let moved: Json = serde_json::from_slice(&moved.stdout).expect("JSON");
    let prints = |log: &Json| {
        let results = log["runs"][0]["results"].as_array().expect("results").clone();
        results.into_iter().map(|result| result["partialFingerprints"].clone()).collect::<Vec<_>>()
    };
    assert!(prints(&log).starts_with(&prints(&moved)));
}

#[test]
fn every_format_reports_the_same_findings() {
    let folder = project(&[("job.sql", JOB)]);
    let of = |format: &str| velo(&folder, &["lint", "--format", format, "job.sql"]);
    let json: Vec<Json> = serde_json::from_slice(&of("json").stdout).expect("findings");
    let rules: Vec<_> =
        json.iter().map(|finding| finding["rule"].as_str().expect("a rule").to_owned()).collect();
    let sarif: Json = serde_json::from_slice(&of("sarif").stdout).expect("a log");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    assert_eq!(
        results
            .iter()
            .map(|result| result["ruleId"].as_str().expect("a rule").to_owned())
            .collect::<Vec<_>>(),
        rules
    );
    let (text, github) = (stdout(&of("text")), stdout(&of("github")));
    for rule in &rules {
        assert!(text.contains(&format!("[{rule}]")), "{text}");
        assert!(github.contains(&format!("title={rule}::")), "{github}");
    }
    assert_eq!(github.lines().count(), rules.len());
    assert!(!text.contains('\u{1b}'), "no escapes where there is no terminal");
}

#[test]
fn a_plan_reads_the_files_that_a_statement_names() {
    let folder = project(&[
        ("c.yaml", "batch: {strategy: fixed_size, size: 500}\nfailure_strategy: FailBatch\n"),
        ("job.sql", "CREATE STREAM s AS SELECT * FROM orders WITH ('config_file' = 'c.yaml');"),
    ]);
    let output = velo(&folder, &["plan", "--format", "json", "job.sql"]);
    let plan: Json = serde_json::from_slice(&output.stdout).expect("a plan");
    assert_eq!(
        (&plan[0]["max_poll_records"]["max"], &plan[0]["tier"]),
        (&Json::from(500), &Json::from("buffered"))
    );
}

#[test]
fn the_check_programs_agree_and_a_broken_copy_does_not() {
    let programs = [
        (
            env!("CARGO_BIN_EXE_test_batch_with_clause"),
            "batch_with_clause.md",
            "'batch.size' = '1000'",
            "'batch.size' = '1001'",
        ),
        (
            env!("CARGO_BIN_EXE_test_failure_strategy_config"),
            "failure_strategy_config.md",
            "'FailBatch'",
            "'SendToDLQ'",
        ),
    ];
    for (program, file, text, broken) in programs {
        let output = run(program, Path::new("."), &[], "");
        assert!(output.status.success(), "{}", stdout(&output));
        assert!(stdout(&output).contains("0 not as expected"));
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checks").join(file);
        let good = fs::read_to_string(fixture).expect("the fixture");
        assert!(good.contains(text));
        let folder = project(&[
            ("broken.md", &good.replacen(text, broken, 1)),
            ("typo.md", &good.replacen("WITH (", "WITH ('batch.sise' = '1', ", 1)),
        ]);
        let output = run(program, folder.path(), &["broken.md"], "");
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        assert!(stdout(&output).contains("1 not as expected"), "{}", stdout(&output));
        let output = run(program, folder.path(), &["typo.md"], "");
        assert_eq!(output.status.code(), Some(1));
        assert!(stdout(&output).contains("unknown-key"), "{}", stdout(&output));
        let output = run(program, folder.path(), &["missing.md"], "");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn the_readme_shows_what_is_printed() {
    let sql = "CREATE STREAM s AS SELECT * FROM orders\nWITH (\n    'batch.sise' = '500',\n    'batch.timeout' = '1000'\n);\n";
    let output = velo(&project(&[("job.sql", sql)]), &["lint", "job.sql"]);
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("the README");
    let said = format!("$ velo lint job.sql\n{}{}", stdout(&output), stderr(&output));
    assert!(page.contains(&said), "README.md shows something else than\n{said}");
}
