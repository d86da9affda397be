//! The project's own Markdown is linted: its examples are copied.

use std::fs;
use std::path::Path;

use velo_lint::{Language, LineIndex, Severity, lint};

/// Pages about mistakes, which have them on purpose.
const OF_MISTAKES: &[&str] = &["rules.md"];

#[test]
fn no_example_of_the_docs_has_a_mistake() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut wrong, mut statements) = (Vec::new(), 0);
    for folder in [root.clone(), root.join("docs")] {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.extension().is_none_or(|ending| ending != "md") || OF_MISTAKES.contains(&name.as_str()) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a text");
            statements += velo_lint::statements(&text, Language::Markdown).len();
            for finding in lint(&text, Language::Markdown) {
                if finding.severity > Severity::Info {
                    let line = LineIndex::new(&text).position(finding.span.start).line;
                    let message = &finding.message;
                    wrong.push(format!("{name}:{line}: {}: {message}", finding.rule));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(statements > 0, "the docs have no SQL any more");
}
