//! Kafka's protocol, as far as records are read with it: requests to bytes, and bytes of brokers to answers.
//!
//! All of it is pure. Nothing here trusts a broker: a length is checked before anything of that length is read or
//! reserved, and what is decompressed has a limit.

pub(super) mod api;
pub(super) mod cursor;
mod encoder;
pub(super) mod fetch;
pub(super) mod metadata;
pub(super) mod records;
