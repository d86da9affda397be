//! A member of a consumer group: what it decides is pure, what it does is in the [`adapter`].

mod adapter;
mod commits;
mod end_of_input;
mod group_offsets;
mod member;
mod options;
mod order;
mod questions;
mod reset;

pub use adapter::GroupSource;
pub use options::GroupOptions;
pub use reset::OnDataLoss;
