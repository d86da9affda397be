//! Measures a live topic and recommends a batch strategy, with the evidence for it.
//!
//! [`sample`] watches the topic, [`profile`] says what its workload is, [`runner`] replays the
//! recorded arrivals through the real engine for each [`candidate`], and [`recommend()`] chooses:
//! a pure function, so that the same trials give the same advice whenever it is asked.
//!
//! Nothing here can write to the topic, commit, or join a group: the only client it has is the
//! engine's reader, which cannot either.

pub mod advice;
pub mod candidate;
#[cfg(feature = "kafka")]
pub mod confirm;
pub mod cost;
pub mod delays;
pub mod drift;
pub mod limit;
pub mod predict;
pub mod profile;
pub mod recommend;
pub mod runner;
#[cfg(feature = "kafka")]
pub mod sample;
pub mod session;
pub mod timeline;
pub mod trial;
pub mod verdict;

pub use advice::{Advice, Confirmation, Goal, Recommendation, Refusal, Wishes};
pub use candidate::{Candidate, Setting};
pub use cost::Cost;
pub use limit::Limit;
pub use profile::Profile;
pub use recommend::recommend;
pub use trial::{Evidence, Trial, Work};
pub use verdict::Verdict;
