//! What several messages share: a value or a hint in, its words out.

/// Returns a value as it can stand in a sentence.
pub(crate) fn one_line(value: &str) -> String {
    const MOST: usize = 80;
    let shown: String = value.chars().take(MOST).collect();
    let more = if shown.len() < value.len() { "…" } else { "" };
    format!("{}{more}", shown.escape_debug())
}

/// Returns the question whether something else was meant; nothing if nothing is near.
pub(crate) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default()
}
