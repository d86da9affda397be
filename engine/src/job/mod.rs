//! A job. A [`Builder`] configures it, the poll thread and its workers run it, and an [`Engine`] observes and ends it.

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
