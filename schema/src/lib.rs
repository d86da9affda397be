//! Batch and failure settings of streaming SQL: the table of keys, typed configuration, the plan.
//!
//! In: key and value text, already taken out of a clause by somebody else. Out: typed values or
//! errors as data ([`value`]), a complete [`Config`] with the origin of every setting
//! ([`settings`]), the [`Plan`] (poll size, consumer tier, the guide's expectations) and a JSON
//! Schema. No SQL, no broker, no file system, no clock.
//!
//! Every key stands once, in [`keys::KEYS`]; everything else is derived from it.
//!
//! ```
//! use velo_schema::{Entry, Plan, Scope, Settings, Side, Tier, keys::Key};
//!
//! let entries = [Entry::parse(Scope::Job, Key::BatchSize, "500").unwrap()];
//! let settings = Settings::resolve(&entries, Side::Source, None);
//! let plan = Plan::of(&settings.config(), None);
//! assert_eq!(plan.max_poll_records.max, 500);
//! assert_eq!(plan.tier, Tier::Buffered);
//! ```

pub mod batch_config;
pub mod config;
pub mod guide;
pub mod json_schema;
pub mod keys;
mod nearest;
pub mod neighbours;
pub mod placeholder;
pub mod plan;
pub mod reference;
pub mod settings;
pub mod shape;
mod starting_point;
pub mod strategy;
pub mod tier;
pub mod units;
pub mod value;

pub use batch_config::{BatchConfig, BatchStrategy};
pub use config::{Config, Failure, Strategy};
pub use nearest::{meant, nearest};
pub use plan::Plan;
pub use settings::{Entry, Origin, Scope, Settings, Side};
pub use starting_point::starting_point;
pub use strategy::{FailureStrategy, OnExhausted, StrategyKind};
pub use tier::{Span, Tier};
pub use units::{format_bytes, format_duration, format_elapsed, parse_bytes};
