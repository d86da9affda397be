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
}
