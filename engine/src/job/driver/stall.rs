//! Notices that nothing goes on: what a job waits for and how far it is in, a notice out if that stays the same for long.
//!
//! The client retries most requests for ever and without a word. Only the lack of progress shows that.

use std::time::Duration;

use crate::core::Ledger;
use crate::ids::Tick;

/// Without progress for this time, the job says what it waits for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Two looks that lie further apart count as this far apart, because the process was suspended between them.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// The group has to assign partitions.
    Group,
    /// The brokers have to acknowledge or to commit this number of records.
    Brokers(u64),
    /// This number of records has to be fetched.
    Records(u64),
}

/// How long a job has waited for the same.
#[derive(Debug, Default)]
pub(super) struct Stall {
    ledger: Ledger,
    last: Tick,
    waited: Duration,
    is_told: bool,
}

impl Stall {
    /// Takes a look at a job. Returns a notice when the job has waited for long, and when it goes on.
    pub(super) fn look(&mut self, now: Tick, ledger: Ledger, waits: Option<Waits>) -> Option<String> {
        let step = now.since(self.last).min(LONGEST_STEP);
        self.last = now;
        if let Some(waits) = waits.filter(|_| ledger == self.ledger) {
            self.waited += step;
            if self.waited < PATIENCE || std::mem::replace(&mut self.is_told, true) {
                return None;
            }
            return Some(waits.to_string());
        }
        self.ledger = ledger;
        self.waited = Duration::ZERO;
        std::mem::take(&mut self.is_told).then(|| "the job goes on".to_owned())
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = PATIENCE.as_secs();
        match self {
            Self::Group => write!(f, "the group has not assigned any partitions for {seconds} s"),
            Self::Brokers(records) => write!(
                f,
                "the brokers have not acknowledged anything for {seconds} s; {records} records are sent again \
                 until they do"
            ),
            Self::Records(records) => write!(
                f,
                "no record has arrived for {seconds} s, and {records} can be read; fetches are retried"
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
    fn what_stands_still_is_told_once_and_so_is_that_it_goes_on() {
        let (mut stall, waits) = (Stall::default(), Some(Waits::Brokers(7)));
        let told: Vec<_> = (0..40).filter_map(|s| stall.look(at(s), Ledger::default(), waits)).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("7 records"), "{told:?}");
        let some = Ledger { delivered: 1, ..Ledger::default() };
        assert_eq!(stall.look(at(41), some, waits), Some("the job goes on".to_owned()));
        assert_eq!(stall.look(at(42), some, waits), None);
    }

    #[test]
    fn neither_an_idle_nor_a_suspended_job_stands_still() {
        let mut stall = Stall::default();
        assert!((0..40).all(|s| stall.look(at(s), Ledger::default(), None).is_none()));
        assert_eq!(stall.look(at(100), Ledger::default(), Some(Waits::Group)), None);
        assert_eq!(stall.look(at(200), Ledger::default(), Some(Waits::Group)), None);
    }
}
