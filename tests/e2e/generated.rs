//! What is generated and committed is what the program prints today.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn velo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_velo")).args(args).output().expect("velo runs");
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn is_fresh(file: &str, args: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == velo(args), "docs/{file} is stale; run scripts/generate");
}

#[test]
fn the_reference_pages_are_fresh() {
    is_fresh("reference.md", &["keys", "--format", "markdown"]);
    is_fresh("rules.md", &["rules", "--format", "markdown"]);
}

#[test]
fn the_schemas_are_fresh() {
    for shape in ["with", "yaml"] {
        for draft in ["2020-12", "7"] {
            let args = ["schema", "--shape", shape, "--draft", draft];
            is_fresh(&format!("schema/{shape}.draft-{draft}.json"), &args);
            let lax: Vec<_> = args.into_iter().chain(["--lax"]).collect();
            is_fresh(&format!("schema/{shape}-lax.draft-{draft}.json"), &lax);
        }
    }
    for draft in ["2020-12", "7"] {
        let args = ["schema", "--of", "settings", "--draft", draft];
        is_fresh(&format!("schema/velo-toml.draft-{draft}.json"), &args);
    }
    for output in ["lint", "plan", "run", "advise", "dlq", "exec", "baseline"] {
        is_fresh(&format!("schema/output-{output}.json"), &["schema", "--of", output]);
    }
}

/// A run that was really made, and that cannot be made again: what it wrote is still advice of this version,
/// and the page shows what it says.
#[test]
fn the_run_that_is_shown_is_read_as_it_is_shown() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let json = std::fs::read_to_string(docs.join("advise-run.json")).expect("docs/advise-run.json");
    let schema: serde_json::Value = serde_json::from_str(&velo(&["schema", "--of", "advise"])).expect("json");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let advice: serde_json::Value = serde_json::from_str(&json).expect("json");
    let errors: Vec<_> = validator.iter_errors(&advice).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "make the run of docs/advise.md again");
    let page = std::fs::read_to_string(docs.join("advise.md")).expect("docs/advise.md");
    let said = velo(&["report", docs.join("advise-run.json").to_str().expect("a path")]);
    assert!(page.contains(&said), "make the run of docs/advise.md again, or mend what it shows:\n{said}");
}

/// What one round of a part of a benchmark took.
#[derive(serde::Deserialize)]
struct Round {
    records: f64,
    seconds: f64,
    cpu_s: f64,
    peak_mib: f64,
}

impl Round {
    fn records_per_s(&self) -> f64 {
        self.records / self.seconds
    }

    fn cpu_us_per_record(&self) -> f64 {
        self.cpu_s / self.records * 1e6
    }
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<_> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the figures of a benchmark as a table. `baselines` are the parts that the others are compared with.
fn speed_table(figures: &serde_json::Value, baselines: &[&str]) -> String {
    let costs = figures["costs"].clone();
    let costs: BTreeMap<String, Vec<Round>> = serde_json::from_value(costs).expect("parts");
    let rate = |name: &str| median(&costs[name], Round::records_per_s);
    let columns =
        |text: &dyn Fn(&str) -> String| baselines.iter().map(|name| text(name)).collect::<Vec<_>>().concat();
    let (titles, rules) = (columns(&|name| format!(" of the {name} |")), columns(&|_| " --- |".to_owned()));
    let load = figures["load"].as_str().expect("a load");
    let mut table = format!(
        "{load}:\n\n| | M records/s |{titles} CPU µs per record | peak MiB |\n| --- | --- |{rules} --- | --- |\n"
    );
    for (name, rounds) in &costs {
        let ratios = columns(&|baseline| format!(" {:.2} |", rate(name) / rate(baseline)));
        let (cpu_us, peak_mib) =
            (median(rounds, Round::cpu_us_per_record), median(rounds, |round| round.peak_mib));
        table += &format!("| {name} | {:.2} |{ratios} {cpu_us:.2} | {peak_mib:.0} |\n", rate(name) / 1e6);
    }
    table
}

#[test]
fn the_tables_of_speed_are_those_of_the_figures() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let figures = std::fs::read_to_string(docs.join("speed.jsonl")).expect("docs/speed.jsonl");
    let path = docs.join("speed.md");
    let page = std::fs::read_to_string(&path).expect("docs/speed.md");
    let mut fresh = page.clone();
    for (bench, baselines) in [("drain", &["bare loop", "limit"][..]), ("copy", &["plain copy"])] {
        let tables: Vec<_> = figures
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .filter(|figures| figures["bench"] == bench)
            .map(|figures| speed_table(&figures, baselines))
            .collect();
        let (begin, end) = (format!("<!-- {bench} -->\n"), format!("<!-- end of {bench} -->"));
        let (before, rest) = fresh.split_once(&begin).expect("a mark before the tables");
        let (_, after) = rest.split_once(&end).expect("a mark after the tables");
        fresh = format!("{before}{begin}\n{}\n{end}{after}", tables.join("\n"));
    }
    if std::env::var_os("VELO_TEST_WRITE").is_some() {
        std::fs::write(&path, &fresh).expect("written");
    } else {
        assert!(page == fresh, "docs/speed.md is stale; run VELO_TEST_WRITE=1 scripts/test tables_of_speed");
    }
}
