//! The engine as a pure machine: events and a time go in, actions come out. No clock, no threads, no I/O.
//!
//! The driver performs the actions and reports back; whatever replays the same events at the same
//! ticks gets the same actions. Batches are sealed by the [`batcher`], a lane's order and commits are
//! kept by a [`tracker`], and what follows a failure is decided in [`failure`]. [`Core`] puts
//! them together.

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
mod regroup;
mod runs;
mod schedule;
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
