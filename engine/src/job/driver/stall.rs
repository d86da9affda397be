//! Notices of a job that stands still: what it waits for and what was done in, a notice out if nothing is done for long.
//!
//! The client retries most requests for ever and without a notice. Only the lack of progress shows that.

use std::time::Duration;

use crate::ids::Tick;

/// The time without progress after which the user is notified.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time between two checks.
const INTERVAL: Duration = Duration::from_secs(1);
/// The maximum time that is counted between two checks. If it is longer, the process was suspended.
const LONGEST_STEP: Duration = Duration::from_secs(2);

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Acknowledgements of this number of records; 0 if only a transaction has to begin or end.
    Brokers(usize),
    /// Records from this number of partitions.
    Fetches(usize),
}

/// What a job has done so far, in records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Records that were read.
    pub read: u64,
    /// Acknowledgements and ends of transactions.
    pub written: u64,
}

/// How long a job has stood still.
#[derive(Debug, Default)]
pub(super) struct Stall {
    last: Tick,
    /// The kind of what the job waits for, and what was done of it.
    watched: Option<(Kind, u64)>,
    waited: Duration,
    /// True if the user was notified.
    is_known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Writing,
    Reading,
}

impl Kind {
    fn done(self, Done { read, written }: Done) -> u64 {
        match self {
            Self::Writing => written,
            Self::Reading => read,
        }
    }
}

impl Stall {
    /// Returns true if the job is to be checked. A check looks at every partition.
    pub(super) fn is_due(&self, now: Tick) -> bool {
        now.since(self.last) >= INTERVAL
    }

    /// Checks a job. Returns a notice if it has stood still for long, and another one when it continues.
    pub(super) fn check(&mut self, now: Tick, done: Done, waits: Option<Waits>) -> Option<String> {
        let step = now.since(std::mem::replace(&mut self.last, now)).min(LONGEST_STEP);
        let watched = waits.map(|waits| {
            let kind = waits.kind();
            (kind, kind.done(done))
        });
        if let (Some(waits), true) = (waits, watched == self.watched) {
            self.waited += step;
            if self.waited < PATIENCE || std::mem::replace(&mut self.is_known, true) {
                return None;
            }
            return Some(waits.to_string());
        }
        let before = std::mem::replace(&mut self.watched, watched);
        self.waited = Duration::ZERO;
        let was_known = std::mem::take(&mut self.is_known);
        let (kind, _) = before.filter(|(kind, before)| was_known && kind.done(done) != *before)?;
        Some(match kind {
            Kind::Writing => "the brokers acknowledge records again".to_owned(),
            Kind::Reading => "records are fetched again".to_owned(),
        })
    }
}

impl Waits {
    fn kind(self) -> Kind {
        match self {
            Self::Brokers(_) => Kind::Writing,
            Self::Fetches(_) => Kind::Reading,
        }
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = PATIENCE.as_secs();
        match self {
            Self::Brokers(0) => {
                write!(f, "the transaction coordinator has not answered for {seconds} s")
            }
            Self::Brokers(records) => write!(
                f,
                "no acknowledgement from the brokers for {seconds} s; {records} unacknowledged records are retried"
            ),
            Self::Fetches(partitions) => write!(
                f,
                "no record was fetched for {seconds} s from {partitions} partitions that are not read to their end; \
                 fetches are retried"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_job_that_stands_still_is_reported_once_and_so_is_that_it_continues() {
        let (mut stall, waits) = (Stall::default(), Some(Waits::Brokers(7)));
        // What is read meanwhile is no progress of the writes.
        let check = |stall: &mut Stall, s| stall.check(at(s), Done { read: s, written: 5 }, waits);
        let notices: Vec<_> = (0..40).filter_map(|s| check(&mut stall, s)).collect();
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains("7 unacknowledged records"), "{notices:?}");
        let more = Done { read: 50, written: 6 };
        assert_eq!(stall.check(at(41), more, None), Some("the brokers acknowledge records again".to_owned()));
        assert_eq!(stall.check(at(42), more, None), None);
        let again: Vec<_> = (50..70).filter_map(|s| stall.check(at(s), more, waits)).collect();
        assert_eq!(again.len(), 1, "a second stall is reported, too: {again:?}");
    }

    #[test]
    fn neither_an_idle_nor_a_suspended_job_stands_still() {
        let mut stall = Stall::default();
        assert!((0..40).all(|s| stall.check(at(s), Done::default(), None).is_none()));
        let waits = Some(Waits::Fetches(1));
        assert!([100, 200, 300].iter().all(|s| stall.check(at(*s), Done::default(), waits).is_none()));
    }

    #[test]
    fn a_job_that_no_longer_waits_has_not_continued() {
        let mut stall = Stall::default();
        let waits = Some(Waits::Fetches(2));
        assert_eq!((0..20).filter_map(|s| stall.check(at(s), Done::default(), waits)).count(), 1);
        // The partitions were revoked.
        assert_eq!(stall.check(at(21), Done::default(), None), None);
    }
}
