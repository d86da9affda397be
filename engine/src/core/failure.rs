//! What follows a failure: a stage and its policy in, a decision out.

use std::time::Duration;

use velo_schema::config::Failure;
use velo_schema::{FailureStrategy, OnExhausted};

/// Where in a job something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Making sense of the fetched bytes.
    Decode,
    /// The processor.
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

/// A record that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Its row in the batch.
    pub row: u32,
    /// Where it failed.
    pub stage: Stage,
    /// Why, for people.
    pub message: String,
    /// Whether another attempt might succeed.
    pub retriable: bool,
}

/// What happens to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Log it and leave it out.
    Skip,
    /// Send it to the dead letter queue.
    DeadLetter,
    /// Fail the job.
    Fail,
}

/// A failure strategy that this version of the engine does not execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the engine does not execute failure_strategy '{0}' yet; it executes LogAndContinue, SendToDLQ and FailBatch"
)]
pub struct UnsupportedFailure(pub FailureStrategy);

/// A stage's policy, of strategies that are executed.
#[derive(Debug, Clone)]
pub struct Policy {
    failure: Failure,
}

impl Policy {
    /// The policy of a configuration.
    ///
    /// # Errors
    /// Where its strategy is not executed.
    pub fn of(failure: &Failure) -> Result<Self, UnsupportedFailure> {
        match failure.strategy {
            FailureStrategy::RetryWithBackoff => Err(UnsupportedFailure(failure.strategy)),
            _ => Ok(Self { failure: failure.clone() }),
        }
    }

    /// What happens to a record that failed.
    #[must_use]
    pub fn decide(&self) -> Decision {
        match self.failure.strategy {
            FailureStrategy::LogAndContinue => Decision::Skip,
            FailureStrategy::SendToDLQ => Decision::DeadLetter,
            FailureStrategy::FailBatch | FailureStrategy::RetryWithBackoff => Decision::Fail,
        }
    }

    /// What happens to a record that a topic refused for good. One that the dead letter queue
    /// refused cannot go there again.
    #[must_use]
    pub fn decide_refused(&self, stage: Stage) -> Decision {
        match (stage, self.failure.on_exhausted) {
            (Stage::DeadLetter, OnExhausted::LogAndContinue) => Decision::Skip,
            (Stage::DeadLetter, _) => Decision::Fail,
            _ => self.decide(),
        }
    }

    /// How long to wait before attempt `attempt + 2`: the base, doubled each time, up to the maximum.
    #[must_use]
    pub fn backoff(&self, attempt: u32) -> Duration {
        let doubled = self.failure.backoff.checked_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        doubled.unwrap_or(Duration::MAX).min(self.failure.backoff_max)
    }
}

/// Something for each stage.
#[derive(Debug, Clone)]
pub struct ByStage<T> {
    /// Fetching and decoding: the source's scope.
    pub decode: T,
    /// Processing: the job's scope.
    pub process: T,
    /// Writing: the sink's scope.
    pub write: T,
}

impl<T> ByStage<T> {
    /// The one of a stage; dead letters are the concern of the job.
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
        Policy::of(&failure).unwrap()
    }

    #[test]
    fn the_delay_doubles_up_to_its_maximum() {
        let policy = policy(|_| {});
        let delays: Vec<_> = [0, 1, 2, 6, 40].map(|attempt| policy.backoff(attempt).as_secs()).into();
        assert_eq!(delays, [1, 2, 4, 60, 60]);
    }

    #[test]
    fn what_the_dead_letter_queue_refuses_fails_unless_told_otherwise() {
        let dlq = policy(|failure| failure.strategy = FailureStrategy::SendToDLQ);
        assert_eq!(dlq.decide(), Decision::DeadLetter);
        assert_eq!(dlq.decide_refused(Stage::Write), Decision::DeadLetter);
        assert_eq!(dlq.decide_refused(Stage::DeadLetter), Decision::Fail);
        let lenient = policy(|failure| {
            failure.strategy = FailureStrategy::SendToDLQ;
            failure.on_exhausted = OnExhausted::LogAndContinue;
        });
        assert_eq!(lenient.decide_refused(Stage::DeadLetter), Decision::Skip);
    }
}
