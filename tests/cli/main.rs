//! The programs that need no Kafka, as their users run them.
#![allow(clippy::disallowed_methods, reason = "tests read files")]

mod formats;
mod lint;
mod lsp;
mod project;
mod support;
