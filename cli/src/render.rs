//! Findings and plans for people and for machines.

#[cfg(feature = "kafka")]
pub(crate) mod advice;
#[cfg(feature = "kafka")]
pub(crate) mod export;
pub(crate) mod letters;
pub(crate) mod plan;
pub(crate) mod settings;
pub(crate) mod style;
