//! Findings and plans for people and for machines.

#[cfg(feature = "kafka")]
pub(crate) mod advice;
#[cfg(feature = "kafka")]
pub(crate) mod export;
pub(crate) mod finding_github;
pub(crate) mod finding_json;
pub(crate) mod finding_sarif;
pub(crate) mod finding_text;
pub(crate) mod letters;
pub(crate) mod plan;
pub(crate) mod style;
