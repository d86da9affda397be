//! Executes batch and failure strategies: records in, batches processed and written, offsets committed.
//!
//! The [`core`] is a pure machine that decides; the [`driver`] is the thread that performs. Sources
//! and sinks stand behind small traits: Kafka (feature `kafka`), memory, and recordings that are
//! replayed. The library has no global logger, signal handler or panic hook.
//!
//! ```
//! use std::sync::Arc;
//! use velo_engine::driver::{Control, Engine, JobConfig};
//! use velo_engine::processor::Forward;
//! use velo_engine::sink::{Acks, MemorySink};
//! use velo_engine::source::memory::MemorySource;
//!
//! let control = Control::default();
//! let acks = Acks::new(control.waker());
//! let sink = MemorySink::default();
//! let written = sink.written();
//! let source = MemorySource::new(vec![b"a".to_vec(), b"b".to_vec()]);
//! let config = JobConfig::uniform(velo_schema::Config::default());
//! let engine = Engine::new(source, Arc::new(sink), acks, vec![Box::new(Forward)], config, control)?;
//! let report = engine.run(&mut |_| {});
//! assert_eq!(report.ledger.ok, 2);
//! assert_eq!(written.lock().unwrap().records.len(), 2);
//! # Ok::<(), velo_engine::driver::Unsupported>(())
//! ```

pub mod columns;
pub mod core;
pub mod driver;
pub mod exec;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod processor;
pub mod report;
pub mod sink;
pub mod source;
pub mod waker;

mod worker;
