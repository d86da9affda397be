//! Executes batch and failure strategies.
pub mod columns;
pub mod core;
