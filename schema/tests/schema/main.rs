//! What the schema says at its bounds, and that what is committed of it is fresh.
#![allow(clippy::disallowed_methods, reason = "committed files are files")]

mod figures;
mod generated;
