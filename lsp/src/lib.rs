//! The language server of velo: findings, fixes, completion, hover and hints for the batch and failure settings in the
//! files that an editor has open.
//!
//! ```text
//! messages ─► inbox.rs ─► server.rs ─► documents.rs: the open texts ─► check.rs: findings by file ─► diagnostics
//!                             │            links.rs: who names which file ──┘
//!                             └─► handlers/answer.rs ─► actions, completion, hints, hover, rename, symbols ─► answers
//! ```
//!
//! Everything that is known of a file outside an editor comes from a [`Host`]: its text, its settings, its language.

mod capabilities;
mod check;
mod convert;
mod documents;
mod handlers;
mod host;
mod inbox;
mod links;
mod server;
#[cfg(test)]
mod tests;

pub use host::Host;
pub use server::{ServerError, serve, serve_stdio};
