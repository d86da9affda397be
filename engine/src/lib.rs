//! Runs batch and failure strategies: takes records from a source, processes and writes them in batches, and commits
//! their offsets.
//!
//! The [`core`] is a state machine without I/O. It returns actions, which a thread of an [`Engine`] performs. Sources
//! and sinks are traits with implementations for Kafka (feature `kafka`), for memory and for recordings. The library
//! installs no global logger, signal handler or panic hook.
//!
//! ```
//! use velo_engine::Engine;
//! use velo_engine::sink::MemorySink;
//! use velo_engine::source::memory::MemorySource;
//!
//! let sink = MemorySink::default();
//! let written = sink.written();
//! let source = MemorySource::new(vec![b"a".to_vec(), b"b".to_vec()]);
//! let engine = Engine::builder(velo_schema::Config::default()).sink(sink).start(source);
//! // This source has an end. A job whose source has no end is stopped with `engine.drain()`.
//! let report = engine.report();
//! assert_eq!(report.ledger.ok, 2);
//! assert_eq!(written.lock().unwrap().records.len(), 2);
//! ```

pub mod batch;
pub mod core;
pub mod dead_letter;
#[doc(hidden)]
pub mod failpoint;
pub mod ids;
pub mod job;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod process;
pub mod progress;
#[cfg(feature = "kafka")]
mod protocol;
#[cfg(all(fuzzing, feature = "protocol", not(feature = "kafka")))]
#[allow(dead_code, reason = "requests are not fuzzed")]
#[doc(hidden)]
pub mod protocol;
pub mod report;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod waker;

pub use job::{Builder, Control, Engine, JobConfig};
pub use progress::{Lag, Progress};
