//! The formats of findings, read by what others have written.

use std::fs;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::{project, stderr, stdout, velo};

const JOB: &str = "-- \u{e9}\nCREATE STREAM s AS SELECT * FROM orders WITH ('batch.strategy' = 'fixed_size',\n  /* \u{1f600} */ 'batch.size' = '<0 & \"1\">', 'failure_strategy' = 'FailBatch');\n";

fn folder() -> TempDir {
    project(&[("a folder/job.sql", JOB), ("ok.sql", "SELECT 1;")])
}

/// What a format prints about the folder.
fn printed(format: &str) -> String {
    let output = velo(&folder(), &["lint", "--format", format]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn concise_is_a_line_a_finding() {
    let out = printed("concise");
    assert!(out.starts_with("a folder/job.sql:3:27: error[wrong-type] '<0 & \\\"1\\\">'"), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
}

#[test]
fn junit_has_a_failed_test_a_finding_and_a_passed_one_a_clean_file() {
    let suites = junit_parser::from_reader(printed("junit").as_bytes()).expect("JUnit");
    assert_eq!((suites.tests, suites.failures), (2, 1));
    let [bad, good] = &suites.suites[..] else { panic!("{suites:?}") };
    let case = &bad.cases[0];
    assert_eq!(
        (case.name.as_str(), bad.name.as_str()),
        ("a folder/job.sql::wrong-type (3:27)", "a folder/job.sql")
    );
    let failure = case.status.failure_as_ref();
    assert!(
        failure.message.contains("is not a whole number") && failure.message.contains("<0 &"),
        "{failure:?}"
    );
    assert_eq!(failure.failure_type, "error");
    assert!(good.cases[0].status.is_success(), "{good:?}");
}

#[test]
fn checkstyle_is_xml_with_a_place_a_finding() {
    let out = printed("checkstyle");
    let mut reader = Reader::from_str(&out);
    let (mut elements, mut file) = (Vec::new(), None);
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Eof => break,
            Event::Start(element) | Event::Empty(element) => {
                let attribute = |name: &str| {
                    let found = element.try_get_attribute(name).expect("attributes");
                    found.map(|found| {
                        found
                            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .expect("a value")
                            .into_owned()
                    })
                };
                match element.name().as_ref() {
                    "file" => file = attribute("name"),
                    "error" => {
                        elements.push((
                            file.clone(),
                            attribute("line"),
                            attribute("severity"),
                            attribute("source"),
                        ));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let some = |text: &str| Some(text.to_owned());
    let expected = (some("a folder/job.sql"), some("3"), some("error"), some("velo.wrong-type"));
    assert_eq!(elements, [expected], "{out}");
}

#[test]
fn gitlab_has_a_fingerprint_that_stays_when_lines_move() {
    let issues = |text: &str| {
        let folder = project(&[("job.sql", text)]);
        let output = velo(&folder, &["lint", "--format", "gitlab"]);
        serde_json::from_slice::<Vec<Json>>(&output.stdout).expect("an array")
    };
    let (before, after) = (issues(JOB), issues(&format!("\n\n{JOB}")));
    assert_eq!(before[0]["check_name"], "wrong-type");
    assert_eq!(before[0]["severity"], "major");
    assert_eq!(before[0]["location"]["path"], "job.sql");
    assert_eq!(
        (&before[0]["location"]["lines"]["begin"], &after[0]["location"]["lines"]["begin"]),
        (&3.into(), &5.into())
    );
    assert_eq!(before[0]["fingerprint"], after[0]["fingerprint"]);
}

#[test]
fn rdjson_counts_columns_in_bytes() {
    let result: Json = serde_json::from_str(&printed("rdjson")).expect("JSON");
    let diagnostic = &result["diagnostics"][0];
    let start = &diagnostic["location"]["range"]["start"];
    // The emoji has four bytes.
    assert_eq!((&start["line"], &start["column"]), (&3.into(), &30.into()));
    assert_eq!(
        (&diagnostic["severity"], &diagnostic["code"]["value"]),
        (&"ERROR".into(), &"wrong-type".into())
    );
}

#[test]
fn several_outputs_are_written_in_one_run() {
    let folder = folder();
    let args = ["lint", "--format", "concise", "--output", "sarif=out.sarif", "-o", "junit=out.xml"];
    let output = velo(&folder, &args);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output).lines().count(), 1);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
    assert!(serde_json::from_str::<Json>(&read("out.sarif")).is_ok_and(|log| log["version"] == "2.1.0"));
    assert!(read("out.xml").contains("<testsuites"));
    let wrong = velo(&folder, &["lint", "--output", "serif=x"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("there is no format 'serif'"), "{}", stderr(&wrong));
    let nowhere = velo(&folder, &["lint", "--output", "json=missing/x.json"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", stderr(&nowhere));
}

#[test]
fn the_docs_list_every_format() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lint.md")).expect("the page");
    let help = stdout(&velo(&folder(), &["lint", "--help"]));
    let names: Vec<_> = velo_report::FORMATS.iter().map(|format| format.name).collect();
    for name in &names {
        assert!(
            page.contains(&format!("\n| `{name}` |")),
            "docs/lint.md does not describe the format {name}"
        );
        assert!(help.contains(name), "{help}");
    }
}
