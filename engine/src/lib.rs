//! Executes batch and failure strategies: records in, batches processed and written, offsets committed.
//!
//! The [`core`] is a pure machine that decides; a thread of an [`Engine`] performs. Sources
//! and sinks stand behind small traits: Kafka (feature `kafka`), memory, and recordings that are
//! replayed. The library has no global logger, signal handler or panic hook.
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
//! // The source has an end; a job without one is ended by `engine.drain()`.
//! let report = engine.report();
//! assert_eq!(report.ledger.ok, 2);
//! assert_eq!(written.lock().unwrap().records.len(), 2);
//! ```

pub mod batch;
pub mod core;
pub mod ids;
pub mod job;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod process;
pub mod progress;
pub mod report;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod waker;

pub use job::{Builder, Control, Engine, JobConfig};
pub use progress::{Lag, Progress};
