//! The state of a replay. The other files change it.

use std::collections::BTreeMap;
use std::time::Instant;

use velo_engine::kafka::{ClientSettings, RecordProducer, TopicReader};

use super::outgoing::Outgoing;
use super::survey::Survey;
use super::target::Target;
use crate::args::DlqReplayArgs;
use crate::commands::dlq::history::Offsets;
use crate::progress::above;
use crate::render::letters::Origin;
use crate::render::style;

/// A replay under way.
pub(super) struct Replay<'a> {
    pub(super) settings: &'a ClientSettings,
    pub(super) args: &'a DlqReplayArgs,
    /// The id of this replay in its receipts.
    pub(super) id: String,
    pub(super) reader: TopicReader,
    pub(super) producer: RecordProducer,
    pub(super) survey: Survey,
    pub(super) targets: BTreeMap<String, Target>,
    pub(super) part: Vec<Outgoing>,
    pub(super) part_bytes: usize,
    /// Further dead letters of records in `part`: the original, and partition and offset in the queue.
    pub(super) duplicates: Vec<(Origin, (i32, i64))>,
    /// Acknowledged dead letters without a receipt, by target and queue partition.
    pub(super) arrived: BTreeMap<(String, i32), Offsets>,
    /// The earliest time at which `--rate` allows the next record.
    pub(super) next_send: Instant,
    /// How many records were selected to be sent, which `--limit` bounds.
    pub(super) taken: u64,
    /// How many records `--limit` left out.
    pub(super) left: u64,
    /// How many records could not be written.
    pub(super) failed: u64,
}

impl Replay<'_> {
    pub(super) fn target_of<'b>(&'b self, origin: &'b Origin) -> &'b str {
        self.args.to_sink.as_deref().unwrap_or(&origin.topic)
    }

    /// Counts and reports a record that cannot be written. The replay continues with the others.
    pub(super) fn failed(&mut self, of: &Origin, error: &dyn std::fmt::Display) {
        self.failed += 1;
        above(|| anstream::eprintln!("{} {of} was not replayed: {error}", style::error("error:")));
    }
}
