//! What a job does with a batch: rows in, outputs and failed rows out.

pub(crate) mod bisect;
mod decode;
pub mod exec;
mod output;
pub(crate) mod parallel;
mod processor;
mod synthetic;

pub use decode::ValueFormat;
pub(crate) use output::Expected;
pub use output::{Output, OutputRecord};
pub(crate) use processor::Unprocessed;
pub use processor::{Attempt, Failure, Forward, Interrupt, Processor};
pub use synthetic::Synthetic;
