//! What is generated and committed is what the program prints today.

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
    for output in ["lint", "plan", "run", "advise", "dlq", "exec"] {
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
