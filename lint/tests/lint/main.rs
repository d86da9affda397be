//! Lint over fixtures that carry their verdict, and over any text at all.
#![allow(clippy::disallowed_methods, reason = "fixtures are files")]

mod awkward;
mod docs;
mod fixes;
mod fixtures;
mod guide;
mod loader;
mod properties;
mod recall;
mod routes;
mod schema;
