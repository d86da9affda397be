//! Answers to requests: an open text with what was found in it and a place in, the answer out. No handler changes
//! anything.

mod actions;
pub(crate) mod answer;
mod completion;
mod hints;
mod hover;
mod rename;
mod symbols;
pub(crate) mod view;
