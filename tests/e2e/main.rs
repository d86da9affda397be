//! The programs as their users run them, on the embedded broker and on real Kafka.
#![allow(clippy::disallowed_types, reason = "tests look at brokers and ports by themselves")]
#![allow(clippy::disallowed_methods, reason = "tests read files and clocks")]

mod admin;
mod advise;
mod broker;
mod brokers;
mod clauses;
mod cli;
mod data_loss;
mod disk;
mod dlq;
mod exec;
#[path = "../faults/mod.rs"]
mod faults;
mod fetchers;
mod generated;
mod matrix;
mod members;
mod refused;
mod run;
mod secured;
mod topic;
mod watch;
