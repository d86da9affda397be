//! The committed pages and schemas are those of today's table.

use std::fs;
use std::path::Path;

use velo_schema::json_schema::{Draft, Shape, settings_schema};
use velo_schema::reference;

fn committed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    fs::read_to_string(&path).unwrap_or_default()
}

#[test]
fn the_reference_is_fresh() {
    assert!(
        committed("reference.md") == reference::page(),
        "docs/reference.md is stale; run scripts/generate"
    );
}

#[test]
fn the_schemas_are_fresh() {
    for (shape, name) in [(Shape::With, "with"), (Shape::Yaml, "yaml")] {
        for (draft, number) in [(Draft::Draft2020_12, "2020-12"), (Draft::Draft7, "7")] {
            // What was the lax schema is the same one under its old name.
            for suffix in ["", "-lax"] {
                let file = format!("schema/{name}{suffix}.draft-{number}.json");
                let schema = serde_json::to_string_pretty(&settings_schema(shape, draft)).expect("JSON");
                assert!(committed(&file) == schema + "\n", "docs/{file} is stale; run scripts/generate");
            }
        }
    }
}
