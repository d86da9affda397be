//! The programs as their users run them, on the embedded broker and on real Kafka.

mod advise;
mod broker;
mod brokers;
mod cli;
mod run;
mod topic;
