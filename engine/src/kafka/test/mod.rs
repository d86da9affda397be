//! For tests, demonstrations and benchmarks: a broker in this process, and the baseline for measurements.

pub mod baseline;
mod embedded;

pub use embedded::EmbeddedBroker;
