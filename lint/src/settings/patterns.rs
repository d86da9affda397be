//! Patterns of paths: a list in velo.toml in, what matches paths out.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::problem::{Problem, Value, text_of, wrong};

/// Everything below a folder, or in every folder.
const BELOW: &str = "**";

/// Reads a list of patterns. As in `.gitignore`, a pattern without a slash before its end is for names in every folder,
/// and one with a slash at its end is for folders.
pub(super) fn patterns(value: &Value<'_>) -> Result<GlobSet, Problem> {
    let expected = "a list of patterns, such as [\"vendor/\", \"**/*_test.sql\"]";
    let list = value.get_ref().as_array().ok_or_else(|| wrong(value, expected))?;
    let mut set = GlobSetBuilder::new();
    for pattern in list {
        let text = text_of(pattern, "a pattern")?;
        let leads_out = ["!", "./", "../"].iter().any(|start| text.starts_with(start));
        if leads_out || matches!(text.trim_matches('/'), "" | "." | "..") {
            return Err(wrong(pattern, "a pattern below the folder of velo.toml, without '!' or './'"));
        }
        let name = text.trim_end_matches('/');
        let anchored = name.trim_start_matches('/');
        let rooted = if name.contains('/') { anchored.to_owned() } else { format!("{BELOW}/{anchored}") };
        let below = format!("{rooted}/{BELOW}");
        // A pattern that ends with a slash is for folders only.
        let own = (name == text).then_some(&rooted);
        for glob in own.into_iter().chain([&below]) {
            let glob = GlobBuilder::new(glob).literal_separator(true).build();
            set.add(glob.map_err(|error| Problem {
                at: pattern.span().start,
                message: format!("'{text}' is not a pattern: {}", error.kind()),
            })?);
        }
    }
    set.build().map_err(|error| Problem { at: value.span().start, message: error.to_string() })
}
