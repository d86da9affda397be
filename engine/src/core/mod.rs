//! The engine as a state machine: events and a time in, actions out. It has no clock, no threads and does no I/O.
//!
//! The driver performs the actions and reports their results as events. The same events at the same ticks give the
//! same actions. [`Core`] combines the [`batcher`], which seals batches, a [`tracker`] per lane, which computes the
//! offset to commit, and the [`failure`] policies.

mod action;
mod assignment;
pub mod batcher;
mod batches;
mod commit;
mod config;
pub mod controller;
mod event;
pub mod failure;
mod intake;
mod invariant;
mod lanes;
mod ledger;
mod machine;
mod outcome;
mod runs;
mod schedule;
mod sink_batcher;
pub mod tracker;
mod transaction;
mod window;

pub use action::{Action, JobError};
pub use config::CoreConfig;
pub use event::{Event, Fate, Revoke, Verdict, Weight};
pub use ledger::Ledger;
pub use machine::Core;
pub use transaction::TransactionRule;

#[cfg(test)]
mod tests;
