//! Decides how a failed record is handled: a stage and its policy in, a decision out.

use std::time::Duration;

use velo_schema::config::Failure;
use velo_schema::{FailureStrategy, OnExhausted};

/// The stage of a job in which a record failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Decoding the fetched bytes.
    Decode,
    /// Processing.
    Process,
    /// Writing to the sink.
    Write,
    /// Writing to the dead letter queue.
    DeadLetter,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Decode => "decode",
            Self::Process => "process",
            Self::Write => "write",
            Self::DeadLetter => "dead_letter",
        })
    }
}

/// A failed record and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The row of the record in its batch.
    pub row: u32,
    /// The stage in which the record failed.
    pub stage: Stage,
    /// The reason, as text for users.
    pub message: String,
    /// True if another attempt may succeed.
    pub retriable: bool,
}

/// How a failed record is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Log the record and skip it.
    Skip,
    /// Send the record to the dead letter queue.
    DeadLetter,
    /// Fail the job.
    Fail,
    /// Retry the batch after a delay.
    Retry,
}

/// The failure policy of a stage.
#[derive(Debug, Clone)]
pub struct Policy {
    failure: Failure,
}

impl Policy {
    /// Returns the policy of a failure configuration.
    #[must_use]
    pub fn of(failure: &Failure) -> Self {
        Self { failure: failure.clone() }
    }

    /// Returns how a failed record is handled after `retries` retries of its batch.
    #[must_use]
    pub fn decide(&self, error: &RowError, retries: u32) -> Decision {
        match self.failure.strategy {
            FailureStrategy::LogAndContinue => Decision::Skip,
            FailureStrategy::SendToDLQ => Decision::DeadLetter,
            FailureStrategy::FailBatch => Decision::Fail,
            FailureStrategy::RetryWithBackoff => {
                let again = error.retriable && u64::from(retries) < self.failure.max_retries;
                if again { Decision::Retry } else { self.exhausted() }
            }
        }
    }

    /// Returns how a record is handled after the last retry, or if a retry cannot succeed.
    fn exhausted(&self) -> Decision {
        match self.failure.on_exhausted {
            OnExhausted::FailBatch => Decision::Fail,
            OnExhausted::SendToDLQ => Decision::DeadLetter,
            OnExhausted::LogAndContinue => Decision::Skip,
        }
    }

    /// Returns how a record is handled that a topic rejected permanently. A record that the dead letter queue
    /// rejected is not sent to the queue again.
    #[must_use]
    pub fn decide_refused(&self, error: &RowError) -> Decision {
        match (error.stage, self.failure.on_exhausted) {
            (Stage::DeadLetter, OnExhausted::LogAndContinue) => Decision::Skip,
            (Stage::DeadLetter, _) => Decision::Fail,
            _ => self.decide(&RowError { retriable: false, ..error.clone() }, 0),
        }
    }

    /// Returns the delay before retry `retry`, counted from 0. The delay is shortened by up to 25 %, depending on
    /// `seed`, so that jobs that failed at the same time do not retry at the same time.
    #[must_use]
    pub fn backoff(&self, retry: u32, seed: u64) -> Duration {
        let delay = self.failure.delay(u64::from(retry));
        // The finaliser of SplitMix64: each bit of the seed changes about half of the bits of the result.
        let mut mixed = seed.wrapping_add(u64::from(retry)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = (mixed >> 32) as f64 / f64::from(u32::MAX);
        delay.mul_f64(1.0 - 0.25 * share)
    }
}

/// A value for each stage.
#[derive(Debug, Clone)]
pub struct ByStage<T> {
    /// For fetching and decoding: the source's scope.
    pub decode: T,
    /// For processing: the job's scope.
    pub process: T,
    /// For writing: the sink's scope.
    pub write: T,
}

impl<T> IntoIterator for ByStage<T> {
    type Item = T;
    type IntoIter = std::array::IntoIter<T, 3>;

    fn into_iter(self) -> Self::IntoIter {
        [self.decode, self.process, self.write].into_iter()
    }
}

impl<T> ByStage<T> {
    /// Returns references to the values.
    #[must_use]
    pub fn each_ref(&self) -> ByStage<&T> {
        ByStage { decode: &self.decode, process: &self.process, write: &self.write }
    }

    /// Applies a function to the value of each stage.
    #[must_use]
    pub fn map<U>(self, mut of: impl FnMut(T) -> U) -> ByStage<U> {
        ByStage { decode: of(self.decode), process: of(self.process), write: of(self.write) }
    }

    /// Returns the value of a stage. Dead letters use the value of processing.
    #[must_use]
    pub fn of(&self, stage: Stage) -> &T {
        match stage {
            Stage::Decode => &self.decode,
            Stage::Process | Stage::DeadLetter => &self.process,
            Stage::Write => &self.write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velo_schema::Config;

    fn policy(change: impl Fn(&mut Failure)) -> Policy {
        let mut failure = Config::default().failure;
        change(&mut failure);
        Policy::of(&failure)
    }

    fn error(stage: Stage, retriable: bool) -> RowError {
        RowError { row: 0, stage, message: String::new(), retriable }
    }

    #[test]
    fn the_delay_doubles_up_to_its_maximum_and_is_shortened_by_a_quarter_at_most() {
        let policy = policy(|_| {});
        for (retry, longest) in [(0, 1.0), (1, 2.0), (2, 4.0), (6, 60.0), (40, 60.0)] {
            let delays: Vec<_> = (0..50).map(|seed| policy.backoff(retry, seed).as_secs_f64()).collect();
            assert!(delays.iter().all(|delay| (0.75 * longest..=longest).contains(delay)), "{delays:?}");
            assert!(delays.iter().any(|delay| (delay - delays[0]).abs() > 0.01 * longest), "{delays:?}");
            assert_eq!(policy.backoff(retry, 7), policy.backoff(retry, 7));
        }
    }

    #[test]
    fn retries_end_and_what_cannot_be_mended_is_not_retried() {
        for (then, expected) in [
            (OnExhausted::FailBatch, Decision::Fail),
            (OnExhausted::SendToDLQ, Decision::DeadLetter),
            (OnExhausted::LogAndContinue, Decision::Skip),
        ] {
            let policy = policy(|failure| {
                failure.strategy = FailureStrategy::RetryWithBackoff;
                failure.max_retries = 2;
                failure.on_exhausted = then;
            });
            let decided: Vec<_> = (0..4).map(|n| policy.decide(&error(Stage::Process, true), n)).collect();
            assert_eq!(decided, [Decision::Retry, Decision::Retry, expected, expected]);
            assert_eq!(policy.decide(&error(Stage::Decode, false), 0), expected);
            assert_eq!(policy.decide_refused(&error(Stage::Write, true)), expected);
        }
    }

    #[test]
    fn what_the_dead_letter_queue_refuses_fails_unless_told_otherwise() {
        let dlq = policy(|failure| failure.strategy = FailureStrategy::SendToDLQ);
        assert_eq!(dlq.decide(&error(Stage::Process, true), 0), Decision::DeadLetter);
        assert_eq!(dlq.decide_refused(&error(Stage::Write, false)), Decision::DeadLetter);
        assert_eq!(dlq.decide_refused(&error(Stage::DeadLetter, false)), Decision::Fail);
        let lenient = policy(|failure| {
            failure.strategy = FailureStrategy::SendToDLQ;
            failure.on_exhausted = OnExhausted::LogAndContinue;
        });
        assert_eq!(lenient.decide_refused(&error(Stage::DeadLetter, false)), Decision::Skip);
    }
}
