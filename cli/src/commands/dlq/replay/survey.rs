//! Surveys a queue: its topic and the selection in, its dead letters without payloads and its receipts out.

use std::collections::BTreeMap;

use anyhow::Result;
use velo_engine::batch::Batch;
use velo_engine::dead_letter::DeadLetter;
use velo_engine::kafka::{ClientSettings, Until};

use crate::args::DlqReplayArgs;
use crate::commands::dlq::history::History;
use crate::commands::dlq::receipt::Receipt;
use crate::commands::dlq::{is_selected, origin, watched};
use crate::render::letters::Origin;

/// A dead letter, without its payload.
pub(super) struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub origin: Origin,
    pub timestamp_ms: Option<i64>,
    pub is_selected: bool,
}

/// The contents of the queue.
pub(super) struct Survey {
    pub letters: Vec<Seen>,
    pub history: History,
    /// The offset after the last dead letter, by queue partition.
    pub ends: BTreeMap<i32, i64>,
    pub others: BTreeMap<String, u64>,
    pub foreign: u64,
}

impl Survey {
    pub(super) fn take(settings: &ClientSettings, args: &DlqReplayArgs) -> Result<Self> {
        let mut survey = Self {
            letters: Vec::new(),
            history: History::default(),
            ends: BTreeMap::new(),
            others: BTreeMap::new(),
            foreign: 0,
        };
        watched(settings, &args.letters.topic, "reading", (&BTreeMap::new(), Until::Written), |batch| {
            for row in 0..batch.len() {
                survey.add(args, batch, row)?;
            }
            Ok(())
        })?;
        Ok(survey)
    }

    fn add(&mut self, args: &DlqReplayArgs, batch: &Batch, row: u32) -> Result<()> {
        let partition = partition_of(batch, row);
        if let Some(receipt) = Receipt::read(batch, row)? {
            self.history.note(partition, receipt);
            return Ok(());
        }
        let Some(letter) = DeadLetter::read(batch, row) else {
            self.foreign += 1;
            return Ok(());
        };
        let is_selected = is_selected(&args.letters, batch, row, &letter);
        if !is_selected {
            *self.others.entry(letter.stage.clone()).or_default() += 1;
        }
        let offset = batch.offset(row);
        self.ends.insert(partition, offset + 1);
        self.letters.push(Seen {
            partition,
            offset,
            origin: origin(&letter),
            timestamp_ms: letter.timestamp_ms.or(batch.timestamp_ms(row)),
            is_selected,
        });
        Ok(())
    }
}

pub(super) fn partition_of(batch: &Batch, row: u32) -> i32 {
    batch.origin(row).map_or(-1, |origin| origin.partition)
}
