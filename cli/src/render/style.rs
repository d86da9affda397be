//! The few styles that prose on stderr uses; anstream drops them where there is no terminal.

/// A word that stands for trouble.
pub(crate) fn error(text: &str) -> String {
    format!("\u{1b}[1;31m{text}\u{1b}[0m")
}

/// A heading.
#[cfg(feature = "kafka")]
pub(crate) fn bold(text: &str) -> String {
    format!("\u{1b}[1m{text}\u{1b}[0m")
}
