//! Measures a live topic and recommends a batch strategy, with the evidence for it.
//!
//! 1. [`sample`] reads the topic and [`profile`] describes its workload.
//! 2. [`session`] calibrates the cost of batches, predicts every [`candidate`] ([`predict`]) and tries the best ones in
//!    rounds: [`runner`] replays the recorded arrivals through the real engine.
//! 3. [`recommend()`] chooses a candidate, or refuses. It is a pure function: the same evidence gives the same advice.
//! 4. [`confirm`] runs the recommendation on the live topic, read-only.
//!
//! The crate does not write to the topic, commit offsets or join a consumer group: it only uses the engine's read-only
//! client.

pub mod advice;
pub mod bench;
pub mod candidate;
pub mod conclude;
#[cfg(feature = "kafka")]
pub mod confirm;
pub mod cost;
pub mod delays;
pub mod drift;
pub mod evaluation;
pub mod evidence;
pub mod limit;
pub mod objective;
pub mod predict;
pub mod profile;
pub mod recommend;
pub mod refusal;
pub mod runner;
#[cfg(feature = "kafka")]
pub mod sample;
pub mod session;
pub mod timeline;
pub mod trial;
pub mod validity;
pub mod verdict;

pub use advice::{Advice, Confirmation, Recommendation};
pub use candidate::{Candidate, Setting};
pub use cost::Cost;
pub use evaluation::Evaluation;
pub use evidence::Evidence;
pub use limit::Limit;
pub use objective::{Goal, Objective};
pub use profile::Profile;
pub use recommend::recommend;
pub use refusal::Refusal;
pub use trial::{Trial, Work};
pub use validity::ValidityRange;
pub use verdict::Verdict;
