//! What goes wrong: a site and a seed in, the outcome of a run out. One file a scenario.

pub(super) mod brokers;
pub(super) mod clock;
pub(super) mod cluster;
pub(super) mod denied;
pub(super) mod killed;
pub(super) mod late;
pub(super) mod program;
pub(super) mod proxied;
pub(super) mod refused;
pub(super) mod replayed;
pub(super) mod shapes;
pub(super) mod stopped;
pub(super) mod suspended;
pub(super) mod topics;
pub(super) mod transactions;
