//! Events and errors of the source in; events for the core and notices out.

use super::state::Driver;
use crate::core::{Event, Revoke};
use crate::failpoint::{Mutant, is_on};
use crate::source::{Source, SourceError, SourceEvent};

impl<S: Source> Driver<S> {
    /// Keeps an error of the source and drains the job: records that were read are settled and committed.
    pub(super) fn source_failed(&mut self, error: SourceError) {
        self.error.get_or_insert(error.0);
        self.control.drain();
    }

    pub(super) fn source_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(lane, name, position) => {
                self.lanes.insert(lane);
                self.ready.push(lane);
                self.names.insert(lane, name);
                self.step(Event::Assigned(lane, position));
            }
            SourceEvent::Joined => self.is_ready = true,
            SourceEvent::EndOfInput(is_reached) => self.step(Event::EndOfInput(is_reached)),
            SourceEvent::Position(lane, position) => self.step(Event::Position(lane, position)),
            SourceEvent::Lost(lane, position) => self.step(Event::Lost(lane, position)),
            SourceEvent::Ended(lane) => self.step(Event::Ended(lane)),
            SourceEvent::Revoked(_, Revoke::Lost) if is_on(Mutant::WriteAfterLoss) => {}
            SourceEvent::Revoked(lane, how) => {
                self.lanes.remove(&lane);
                if how == Revoke::Lost {
                    self.pool.forget(lane);
                }
                self.step(Event::Revoked(lane, how));
            }
            SourceEvent::CommitEnded(result) => {
                self.step(Event::CommitEnded(result.is_ok()));
                self.notice_error("an offset commit failed and will be retried", result);
            }
            SourceEvent::Throttled(delay) => self.notice(format!(
                "the brokers throttle this client by up to {} ms per request, because of a quota on its user \
                 or client id",
                delay.as_millis()
            )),
            SourceEvent::Notice(notice) => self.notice(notice),
        }
    }
}
