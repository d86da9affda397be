//! A member of a consumer group: what it decides is pure, what it does is in the [`adapter`].

#[allow(clippy::disallowed_types, reason = "it has a client")]
mod adapter;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod client;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod closing;
mod commits;
mod end_of_input;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod group_offsets;
mod member;
mod options;
mod order;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod questions;
mod reset;

pub use adapter::GroupSource;
pub use options::GroupOptions;
pub use reset::OnDataLoss;
