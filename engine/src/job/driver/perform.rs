//! Steps the core and performs its actions: an event in; batches, work for the pool, commits and notices out.

use std::ops::Range;
use std::sync::Arc;

use velo_schema::format_elapsed;

use super::state::{Driver, InFlight};
use crate::core::failure::RowError;
use crate::core::{Action, Event, JobError};
use crate::failpoint::{Edge, Mutant, is_on, reach};
use crate::ids::{BatchId, LaneId, LaneName};
use crate::job::pending::Pending;
use crate::job::worker::{Job, WriteKind, WriteTask};
use crate::process::Expected;
use crate::source::Source;

impl<S: Source> Driver<S> {
    pub(super) fn abort(&mut self, error: JobError) {
        self.core.abort(error, &mut self.actions);
        self.perform();
    }

    pub(super) fn step(&mut self, event: Event<'_>) {
        let now = self.now();
        self.core.step(now, event, &mut self.actions);
        self.perform();
    }

    pub(super) fn perform(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        // An action can step the core again. Those actions have already been performed.
        debug_assert!(self.actions.is_empty());
        self.actions = actions;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Seal(id, reason) => {
                let batch = self.builder.seal(self.names.clone());
                tracing::debug!(batch = id.0, records = batch.len(), ?reason, "sealed");
                self.meter.batches.sealed(reason, u64::from(batch.len()));
                let in_flight = InFlight {
                    batch,
                    output: Arc::default(),
                    expected: Expected::OneEach,
                    pending: Pending::default(),
                    is_written: false,
                    arrived: Vec::new(),
                };
                self.batches.insert(id, in_flight);
            }
            Action::Run(id, attempt) => {
                reach(Edge::BatchSealed);
                if let Some(in_flight) = self.batches.get(&id) {
                    self.pool.process(Job { id, batch: Arc::clone(&in_flight.batch), attempt });
                }
            }
            Action::Group(reason, records) => self.meter.groups.sealed(reason, records),
            Action::Write(id, rows) => self.write(id, rows),
            Action::DeadLetter(id, errors, attempts) => {
                self.post(id, |_| WriteKind::DeadLetters(errors, attempts));
            }
            Action::Skip(id, errors) => self.skip(id, &errors),
            Action::Hold(id, delay, message) => {
                self.meter.retries += 1;
                let place = self.place(Some(id), 0).unwrap_or_default();
                self.notice(format!(
                    "the batch starting at {place} failed and is retried after {}: {message}",
                    format_elapsed(delay)
                ));
            }
            Action::Commit(offsets) => {
                tracing::debug!(lanes = offsets.len(), "commit");
                match self.source.committer() {
                    Some(committer) => committer.commit(&offsets),
                    // A source without a committer does not store offsets.
                    None => self.step(Event::CommitEnded(true)),
                }
            }
            Action::CommitTransaction(offsets) => {
                tracing::debug!(?offsets, "commit transaction");
                let named = |(lane, offset): (LaneId, i64)| Some((self.names.get(lane)?.clone(), offset));
                self.ending_transactions += 1;
                self.pool.commit(offsets.into_iter().filter_map(named).collect());
            }
            Action::AbortTransaction => {
                let reason = self.undone.take().unwrap_or_else(|| "a partition was revoked".to_owned());
                self.ending_transactions += 1;
                self.pool.abort(reason);
            }
            Action::Rewrite(id) => {
                if is_on(Mutant::BatchReused) {
                    self.reuse_too_early(id);
                }
                if let Some(in_flight) = self.batches.get_mut(&id) {
                    in_flight.pending = Pending::of(&in_flight.expected);
                    in_flight.arrived.clear();
                }
            }
            Action::Release(lanes) => {
                tracing::debug!(?lanes, "release");
                for (lane, watermark) in &lanes {
                    // Rows that were not settled in time are left to the next owner.
                    self.pool.forget(*lane);
                    self.note_end(*lane, *watermark);
                }
                if let Some(committer) = self.source.committer() {
                    committer.release(&lanes);
                }
            }
            Action::Drop(id) => {
                reach(Edge::BatchSettled);
                if let Some(InFlight { batch, arrived, .. }) = self.batches.remove(&id) {
                    let now = self.now();
                    for rows in arrived {
                        self.meter.settled_since(now, batch.taken(rows.clone()));
                        self.meter.settled(now, batch.arrivals_ns(rows));
                    }
                    self.builder.recycle(batch);
                }
            }
            Action::Fail(id, error) => {
                let place = self.place(id, error.row().unwrap_or(0));
                let error = place.map_or_else(|| error.to_string(), |place| format!("{place}: {error}"));
                self.error.get_or_insert(error);
            }
        }
    }

    /// A mutant: the batch has the records of a later one.
    fn reuse_too_early(&mut self, id: BatchId) {
        let later = self.batches.iter().filter(|(other, _)| other.0 > id.0).max_by_key(|(other, _)| other.0);
        let later = later.map(|(_, later)| Arc::clone(&later.batch));
        if let Some((in_flight, later)) = self.batches.get_mut(&id).zip(later) {
            in_flight.batch = later;
        }
    }

    fn post(&self, id: BatchId, kind: impl FnOnce(&InFlight) -> WriteKind) {
        if let Some(in_flight) = self.batches.get(&id) {
            let kind = kind(in_flight);
            self.pool.write(WriteTask { id, batch: Arc::clone(&in_flight.batch), kind });
        }
    }

    fn write(&mut self, id: BatchId, rows: Range<u32>) {
        let Some(in_flight) = self.batches.get(&id) else { return };
        // A row without output gets no acknowledgement, so it is settled here.
        self.silent.extend(in_flight.pending.silent(&rows).into_iter().map(|rows| (id, rows)));
        if !in_flight.is_written {
            self.post(id, |in_flight| WriteKind::Outputs(Arc::clone(&in_flight.output), rows));
        }
    }

    /// Returns the record of a row as `topic[partition]@offset`.
    fn place(&self, id: Option<BatchId>, row: u32) -> Option<String> {
        let batch = &self.batches.get(&id?)?.batch;
        let LaneName { topic, partition } = batch.origin(row)?;
        Some(format!("{topic}[{partition}]@{}", batch.offset(row)))
    }

    fn skip(&mut self, id: BatchId, errors: &[RowError]) {
        self.meter.last = self.now();
        for error in errors {
            if let Some(place) = self.place(Some(id), error.row) {
                self.notice(format!("skipped {place} ({}): {}", error.stage, error.message));
            }
        }
    }
}
