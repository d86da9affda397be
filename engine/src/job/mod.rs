//! A job: put together by a [`Builder`], performed by the poll thread and its workers, watched and ended by a handle.

mod builder;
pub mod config;
pub mod control;
mod driver;
mod gate;
mod handle;
mod pending;
mod ready;
mod worker;

pub use builder::Builder;
pub use config::JobConfig;
pub use control::Control;
pub use handle::Engine;
