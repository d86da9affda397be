//! Projects: settings, what is checked, what is accepted, and what has changed.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::{project, run, stderr, stdout, velo};

/// A statement with one finding: its size is on no row of the matrix.
const OFF: &str = "CREATE STREAM s AS SELECT * FROM orders WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '25', 'batch.timeout' = '1s', 'failure_strategy' = 'FailBatch');\n";

/// A statement with one error.
const BAD: &str = "CREATE STREAM s AS SELECT * FROM orders WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '0', 'failure_strategy' = 'FailBatch');\n";

/// The files with findings, and the rules of these.
fn found(folder: &TempDir, args: &[&str]) -> Vec<(String, String)> {
    let output = velo(folder, &[&["lint", "--format", "json"], args].concat());
    let findings: Vec<Json> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let text = |value: &Json| value.as_str().expect("a text").replace('\\', "/");
    let mut found: Vec<_> =
        findings.iter().map(|finding| (text(&finding["file"]), text(&finding["rule"]))).collect();
    found.sort();
    found
}

fn one(file: &str, rule: &str) -> Vec<(String, String)> {
    vec![(file.to_owned(), rule.to_owned())]
}

#[test]
fn each_file_has_the_settings_nearest_to_it() {
    let folder = project(&[
        ("velo.toml", "[rules]\noff-the-matrix = 'allow'\n"),
        ("one/velo.toml", "[rules]\noff-the-matrix = 'error'\n"),
        ("one/deep/job.sql", OFF),
        ("two/job.sql", OFF),
    ]);
    let expected = one("one/deep/job.sql", "off-the-matrix");
    for paths in [&["."][..], &["two/job.sql", "one/deep/job.sql"], &["one/deep/job.sql", "two/job.sql"], &[]]
    {
        assert_eq!(found(&folder, paths), expected, "{paths:?}");
    }
    // Whatever the way to it is.
    assert_eq!(found(&folder, &["two/../one/deep/job.sql"]).len(), 1);
    assert_eq!(found(&folder, &["--config", "velo.toml", "."]), []);
    assert_eq!(found(&folder, &["--isolated", "."]).len(), 2);
    // An error in any of them counts.
    fs::write(folder.path().join("two/velo.toml"), "[rules]\noff-the-matrx = 'error'\n").expect("written");
    let output = velo(&folder, &["lint"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("two/velo.toml:2:1: there is no rule 'off-the-matrx'"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn overrides_are_for_some_files() {
    let settings =
        "[rules]\noff-the-matrix = 'warning'\n[[overrides]]\npaths = ['old/']\nfail-on = 'warning'\n";
    let folder = project(&[("velo.toml", settings), ("new.sql", OFF), ("old/job.sql", OFF)]);
    let code = |args: &[&str]| velo(&folder, &[&["lint"], args].concat()).status.code();
    assert_eq!((code(&["new.sql"]), code(&["old/job.sql"]), code(&[])), (Some(0), Some(1), Some(1)));
    assert_eq!((code(&["--fail-on", "error"]), code(&["--exit-zero"])), (Some(0), Some(0)));
}

#[test]
fn what_a_project_excludes_is_checked_nowhere() {
    let folder = project(&[("velo.toml", "exclude = ['vendor/']\n"), ("vendor/x.sql", BAD), ("x.sql", BAD)]);
    assert_eq!(found(&folder, &[]), one("x.sql", "out-of-range"));
    let named = velo(&folder, &["lint", "vendor/x.sql"]);
    assert_eq!(named.status.code(), Some(0));
    assert!(stderr(&named).contains("velo.toml excludes all of these files"), "{}", stderr(&named));
    let args = ["lint", "--stdin-filename", "vendor/x.sql", "-"];
    assert_eq!(run(env!("CARGO_BIN_EXE_velo"), folder.path(), &args, BAD).status.code(), Some(0));
    let verbose = velo(&folder, &["lint", "-v"]);
    assert!(stderr(&verbose).contains("skipped vendor/x.sql") && stderr(&verbose).contains("checking x.sql"));
    let quiet = velo(&folder, &["lint", "-q"]);
    assert_eq!(stderr(&quiet), "", "findings only");
}

#[test]
fn ignore_files_count_without_a_checkout_too() {
    let folder = project(&[(".gitignore", "gen/\n"), ("gen/made.sql", BAD), ("fine.sql", "SELECT 1;\n")]);
    assert_eq!(found(&folder, &[]), []);
    fs::create_dir(folder.path().join(".git")).expect("a folder");
    assert_eq!(found(&folder, &[]), []);
    assert_eq!(found(&folder, &["gen/made.sql"]).len(), 1, "it is named");
}

#[test]
fn templates_and_other_dialects_are_found_by_their_endings() {
    let folder = project(&[
        ("velo.toml", "[endings]\n'tmpl' = 'sql'\n"),
        ("a.sql.j2", BAD),
        ("b.HQL", BAD),
        ("c.tmpl", BAD),
        ("d.txt", BAD),
    ]);
    let files: Vec<_> = found(&folder, &[]).into_iter().map(|(file, _)| file).collect();
    assert_eq!(files, ["a.sql.j2", "b.HQL", "c.tmpl"]);
}

#[test]
fn a_file_in_another_encoding_fails_only_if_it_has_settings_of_ours() {
    let folder = project(&[("fine.sql", "SELECT 1;\n")]);
    let utf16 = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xFF, 0xFE].into_iter().chain(units).collect::<Vec<u8>>()
    };
    fs::write(folder.path().join("latin.sql"), b"SELECT 'caf\xe9';\n").expect("written");
    fs::write(folder.path().join("wide.sql"), utf16("SELECT 1;")).expect("written");
    let output = velo(&folder, &["lint", "-v"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("skipped latin.sql: is not UTF-8"), "{}", stderr(&output));
    fs::write(folder.path().join("wide.sql"), utf16(BAD)).expect("written");
    let output = velo(&folder, &["lint"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("wide.sql: is UTF-16; save it as UTF-8"), "{}", stderr(&output));
}

#[test]
fn another_release_is_refused() {
    let folder = project(&[("velo.toml", "required-version = '>=99'\n"), ("a.sql", "SELECT 1;")]);
    let output = velo(&folder, &["lint"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("velo.toml:1:20: the project requires velo >=99"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn settings_are_shown_as_they_hold() {
    let settings = "record-size = '2KiB'\n[[overrides]]\npaths = ['old/']\nrules = { unquoted = 'allow' }\n";
    let folder = project(&[("velo.toml", settings), ("a.sql", BAD), ("old/b.sql", BAD)]);
    let output = velo(&folder, &["lint", "--show-settings", "--deny", "off-the-matrix"]);
    let out = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let (first, second) = out.split_once("# old/b.sql").expect("two files");
    for part in [
        "# a.sql",
        "velo.toml",
        "record-size = \"2048\"",
        "fail-on = \"error\"",
        "off-the-matrix = \"error\"",
    ] {
        assert!(first.contains(part), "{part}: {out}");
    }
    assert!(!first.contains("unquoted") && second.contains("unquoted = \"allow\""), "{out}");
}

#[test]
fn a_baseline_accepts_what_is_there_and_reports_what_is_new() {
    let folder = project(&[("jobs/a.sql", BAD), ("b.sql", BAD)]);
    let written = velo(&folder, &["lint", "--write-baseline", "known.json"]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    assert!(stderr(&written).contains("2 findings accepted in 2 files"), "{}", stderr(&written));
    let known = ["--baseline", "known.json"];
    assert_eq!(found(&folder, &known), []);
    // Lines move, and a new finding comes.
    fs::write(folder.path().join("b.sql"), format!("-- a line\n{BAD}{OFF}").replace("'25'", "'-1'"))
        .expect("written");
    assert_eq!(found(&folder, &known), one("b.sql", "out-of-range"));
    // In a project, and from another folder.
    fs::write(folder.path().join("velo.toml"), "baseline = 'known.json'\n").expect("written");
    let jobs = run(env!("CARGO_BIN_EXE_velo"), &folder.path().join("jobs"), &["lint"], "");
    assert_eq!(jobs.status.code(), Some(0), "{}", stdout(&jobs));
    assert!(stderr(&jobs).contains("1 accepted by the baseline"), "{}", stderr(&jobs));
    // What is fixed is said to be.
    fs::write(folder.path().join("b.sql"), "SELECT 1;").expect("written");
    let stale = velo(&folder, &["lint", "-v"]);
    assert_eq!(stale.status.code(), Some(0));
    assert!(
        stderr(&stale).contains("1 entry of") && stderr(&stale).contains("b.sql: out-of-range:"),
        "{}",
        stderr(&stale)
    );
    let missing = velo(&folder, &["lint", "--baseline", "none.json"]);
    assert_eq!(missing.status.code(), Some(2));
    let other = velo(&folder, &["lint", "--baseline", "velo.toml"]);
    assert!(stderr(&other).contains("no baseline of velo lint"), "{}", stderr(&other));
}

fn git(folder: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"];
    let output =
        Command::new("git").current_dir(folder).args(identity).args(args).output().expect("git runs");
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
}

#[test]
fn only_what_has_changed_is_checked() {
    let folder = project(&[("a.sql", &format!("{BAD}\n{BAD}")), ("sub/b.sql", BAD)]);
    let path = folder.path();
    git(path, &["init", "-q"]);
    git(path, &["add", "."]);
    git(path, &["commit", "-qm", "one"]);
    assert_eq!(found(&folder, &["--changed-since", "HEAD"]), []);
    // The clause of the second statement, a file that git does not know, and nothing in the others.
    let second = BAD.replace("'fixed_size'", "'fixed_size' /* by count */");
    fs::write(path.join("a.sql"), format!("{BAD}\n{second}")).expect("written");
    fs::write(path.join("new file.sql"), BAD).expect("written");
    let expected = [("a.sql", "out-of-range"), ("new file.sql", "out-of-range")];
    let expected = expected.map(|(file, rule)| (file.to_owned(), rule.to_owned()));
    assert_eq!(found(&folder, &["--changed-since", "HEAD"]), expected);
    // A branch is compared with the commit at which it left the other one.
    git(path, &["checkout", "-qb", "topic"]);
    git(path, &["add", "."]);
    git(path, &["commit", "-qm", "two"]);
    git(path, &["checkout", "-q", "main"]);
    fs::write(path.join("sub/b.sql"), format!("\n{BAD}")).expect("written");
    git(path, &["commit", "-qam", "three"]);
    git(path, &["checkout", "-q", "topic"]);
    assert_eq!(found(&folder, &["--changed-since", "main"]), expected);
    let sub = run(
        env!("CARGO_BIN_EXE_velo"),
        &path.join("sub"),
        &["lint", "--changed-since", "main", "../a.sql"],
        "",
    );
    assert_eq!(sub.status.code(), Some(1), "{}", stderr(&sub));
    for wrong in ["nowhere", "--output=x"] {
        let output = velo(&folder, &["lint", &format!("--changed-since={wrong}")]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("--changed-since"), "{}", stderr(&output));
    }
    assert!(!path.join("x").exists(), "what begins with a dash is no option");
}

#[test]
fn statistics_count_the_rules() {
    let folder = project(&[("a.sql", &BAD.repeat(3)), ("b.sql", OFF)]);
    let out = stdout(&velo(&folder, &["lint", "--statistics"]));
    assert_eq!(out, "     3  error    out-of-range\n     1  info     off-the-matrix\n");
    let json = velo(&folder, &["lint", "--statistics", "--format", "json"]);
    let counts: Vec<Json> = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&counts[0]["rule"], &counts[0]["findings"]), (&"out-of-range".into(), &3.into()));
    assert_eq!(json.status.code(), Some(1));
}

#[test]
fn what_is_there_is_allowed_with_a_reason() {
    let yaml = "batch:\n  strategy: fixed_size\n  size: 0\nfailure_strategy: FailBatch\n";
    let folder = project(&[("a.sql", BAD), ("b.yaml", yaml)]);
    let output = velo(&folder, &["lint", "--add-allow", "measured in May"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
    assert_eq!(read("a.sql"), format!("-- velo: allow(out-of-range) measured in May\n{BAD}"));
    assert!(
        read("b.yaml").contains("\n  # velo: allow(out-of-range) measured in May\n  size: 0\n"),
        "{}",
        read("b.yaml")
    );
    assert_eq!(found(&folder, &[]), []);
    // JSON has no comments.
    fs::write(
        folder.path().join("c.json"),
        r#"{"batch": {"strategy": "fixed_size", "size": 0}, "failure_strategy": "FailBatch"}"#,
    )
    .expect("written");
    let output = velo(&folder, &["lint", "--add-allow", "so"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot be allowed by a comment"), "{}", stderr(&output));
}

#[test]
fn fixes_are_applied_to_the_files_that_a_statement_names() {
    let folder = project(&[
        ("velo.toml", ""),
        ("conf/batch.yaml", "batch: {strategy: FixedSize, size: 7}\n"),
        (
            "sql/a.sql",
            "CREATE STREAM s AS SELECT * FROM t WITH ('config_file' = 'conf/batch.yaml', 'failure_strategy' = 'FailBatch');\n",
        ),
    ]);
    let shown = velo(&folder, &["lint", "--diff", "sql/a.sql"]);
    assert!(stdout(&shown).contains("+batch: {strategy: fixed_size, size: 7}"), "{}", stdout(&shown));
    let output = velo(&folder, &["lint", "--fix", "sql/a.sql"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let batch = fs::read_to_string(folder.path().join("conf/batch.yaml")).expect("a file");
    assert_eq!(batch, "batch: {strategy: fixed_size, size: 7}\n");
}

#[test]
fn a_plan_reads_the_settings_of_the_project() {
    let folder =
        project(&[("velo.toml", "record-size = '1KiB'\n"), ("a.sql", BAD.replace("'0'", "'500'").as_str())]);
    let plan = |args: &[&str]| {
        let output = velo(&folder, &[&["plan", "--format", "json", "a.sql"], args].concat());
        serde_json::from_slice::<Json>(&output.stdout).expect("JSON")
    };
    fs::write(
        folder.path().join("a.sql"),
        BAD.replace("'fixed_size', 'batch.size' = '0'", "'memory_based', 'batch.memory_size' = '102400'"),
    )
    .expect("written");
    assert_eq!(plan(&[])[0]["max_poll_records"]["max"], 100);
    assert_eq!(plan(&["--record-size", "2KiB"])[0]["max_poll_records"]["max"], 50);
}

#[test]
fn the_settings_in_the_docs_are_right() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lint.md")).expect("the page");
    let settings = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let folder = project(&[
        ("velo.toml", &settings.replace("velo-baseline.json", "known.json")),
        ("a.sql", "SELECT 1;"),
    ]);
    velo(&folder, &["lint", "--write-baseline", "known.json"]);
    let output = velo(&folder, &["lint"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // Every setting is shown.
    let schema = stdout(&velo(&folder, &["schema", "--of", "settings"]));
    let schema: Json = serde_json::from_str(&schema).expect("a schema");
    for name in schema["properties"].as_object().expect("settings").keys() {
        assert!(settings.contains(name.as_str()), "docs/lint.md does not show {name}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let folder = project(&[
        ("velo.toml", "exclude = [\"b.sql\"]\n"),
        ("a.sql", "SELECT 1;\n"),
        ("b.sql", "SELECT 1;\n"),
    ]);
    for (args, message) in [
        (&["lint", "--stdin-filename", "a.sql"][..], "add - to the paths"),
        (&["lint", "--add-allow", " "], "needs a reason"),
        (&["lint", "-o", "sarif=x", "-o", "json=x"], "two formats for x"),
        (&["lint", "-o", "sarif=-"], "--format sarif"),
        (&["lint", "--baseline", "none.json"], "--write-baseline none.json makes one"),
        (&["lint", "--changed-since", "none"], "--changed-since"),
    ] {
        let output = velo(&folder, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{args:?}: {}", stderr(&output));
    }
    let shown = velo(&folder, &["lint", "--show-settings"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("b.sql\n# excluded by velo.toml"), "{shown}");
    let gone = velo(&folder, &["lsp"]);
    assert_eq!(stderr(&gone), "error: the client is gone\n");
}

#[test]
fn every_setting_is_documented() {
    let folder = TempDir::new().expect("a folder");
    let schema: Json =
        serde_json::from_slice(&velo(&folder, &["schema", "--of", "settings"]).stdout).expect("a schema");
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lint.md")).expect("a page");
    for name in schema["properties"].as_object().expect("settings").keys() {
        let is_row = |line: &str| {
            [format!("| `{name}` |"), format!("| `[{name}]` |"), format!("| `[[{name}]]` |")]
                .iter()
                .any(|start| line.starts_with(start))
        };
        assert!(page.lines().any(is_row), "docs/lint.md has no row for {name}");
    }
}
