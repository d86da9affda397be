//! The poll thread: polls the source, steps the core, performs the actions of the core and sleeps until it is woken.

mod fill;
mod observe;
mod perform;
mod settle;
mod source_events;
mod stall;
mod state;

use std::time::Duration;

pub(super) use state::Driver;

use super::control::Shutdown;
use crate::core::{Event, JobError};
use crate::ids::Tick;
use crate::progress::Progress;
use crate::report::Ending;
use crate::source::Source;

const OBSERVE_INTERVAL: Duration = Duration::from_millis(100);

impl<S: Source> Driver<S> {
    /// Runs the job on the current thread until it ends.
    pub(super) fn run(mut self, observe: &mut dyn FnMut(Progress)) -> Ending {
        self.work(observe);
        Ending::new(self.meter, &self.core, self.plan, self.error)
    }

    fn work(&mut self, observe: &mut dyn FnMut(Progress)) {
        let mut events = Vec::new();
        let mut acks = Vec::new();
        let mut next_observation = Tick::default();
        while !self.core.is_done() {
            let now = self.now();
            self.begin_shutdown(now);
            if self.is_abandoned(now) {
                break;
            }
            let polled = self.source.poll(now, &mut events);
            for event in events.drain(..) {
                self.source_event(event);
            }
            match polled {
                Ok(()) => self.pool.confirm(),
                Err(error) => self.source_failed(error),
            }
            // A worker reports a batch before it writes the outputs, so every batch with acknowledgements taken here
            // has been reported.
            let ended = self.pool.ended();
            self.acks.take(&mut acks);
            self.take_finished();
            self.take_acks(&mut acks);
            if let Some(result) = ended {
                self.transaction_ended(result);
            }
            let took = self.fill();
            self.step(Event::Tick);
            if now >= next_observation {
                self.check_for_stall(now);
                observe(self.progress());
                next_observation = now + OBSERVE_INTERVAL;
            }
            if !took && self.silent.is_empty() && !self.core.is_done() {
                self.sleep(next_observation);
            }
        }
        // The last commit answers rebalances at once, so no record may be written from here on.
        self.pool.close();
        if self.control.requested() < Shutdown::Abort {
            self.commit_finally();
        }
        let ends: Vec<_> = self.core.watermarks().collect();
        for (lane, watermark) in ends {
            self.note_end(lane, Some(watermark));
        }
        observe(self.progress());
    }

    /// Starts to drain if the control requests it, and fails the job if a worker has panicked.
    fn begin_shutdown(&mut self, now: Tick) {
        if self.control.requested() >= Shutdown::Drain && self.stopping_since.is_none() {
            self.stopping_since = Some(now);
            self.step(Event::Stop);
        }
        if !self.pool.is_alive() {
            self.abort(JobError::Panicked);
        }
    }

    fn is_abandoned(&self, now: Tick) -> bool {
        let over = self.stopping_since.is_some_and(|since| now.since(since) >= self.drain_timeout);
        over || self.control.requested() == Shutdown::Abort
    }

    fn sleep(&self, next_observation: Tick) {
        let now = self.now();
        // While no more records can be taken, records that become due at the source do not matter.
        let takes =
            self.core.capacity().records > 0 && self.lanes.iter().any(|lane| self.core.takes_from(*lane));
        let next_due = self.source.next_due().filter(|_| takes || self.lanes.is_empty());
        let deadline = self.core.deadline().into_iter().chain(next_due).min();
        let until = deadline.unwrap_or(next_observation).min(next_observation);
        self.control.waker().wait(until.since(now));
    }

    /// Commits all settled offsets, even if the job has failed.
    fn commit_finally(&mut self) {
        let offsets = self.core.committable();
        let Some(committer) = self.source.committer() else { return };
        if let Err(error) = committer.finish(&offsets) {
            let error = format!("the last offset commit failed; some records are read again: {}", error.0);
            self.error.get_or_insert(error);
        }
    }
}
