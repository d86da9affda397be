//! For tests, demonstrations and benchmarks: a broker in this process, and what the engine is measured against.

pub mod baseline;
mod embedded;

pub use embedded::EmbeddedBroker;
