//! The health of the fetches of a partition: successes and failures in, changes to report to the lane out.

use std::time::{Duration, Instant};

use crate::kafka::fetch::Broken;
use crate::kafka::fetch::lane::FailureKind;

/// Failures are reported to the lane only if fetches have failed for this time: leaders move, and brokers restart.
const QUIET: Duration = Duration::from_secs(3);

/// The result of the last fetch of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Health {
    /// It succeeded, or there was none.
    #[default]
    Good,
    /// It failed with a temporary error and is repeated.
    Failing(FailureKind, String),
    /// There are no records at the position, or not those that belong there.
    Broken(Broken),
    /// The partition cannot be read.
    Failed(String),
}

/// The health of a partition, and which part of it was reported to the lane.
#[derive(Debug, Default)]
pub(super) struct Condition {
    health: Health,
    failing_since: Option<Instant>,
    /// True if a failure was reported to the lane.
    is_reported: bool,
    /// True if `health` must be reported to the lane.
    is_news: bool,
}

impl Health {
    /// Fetches are refused, or what they return cannot be read.
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Failing(FailureKind::Refused, reason.into())
    }

    /// No broker can be asked.
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Failing(FailureKind::Unavailable, reason.into())
    }
}

impl Condition {
    /// Notes that a fetch has succeeded: its records could be read, or there were none.
    pub(super) fn is_good(&mut self) {
        if !self.can_be_read() {
            return;
        }
        self.failing_since = None;
        self.is_news |= std::mem::take(&mut self.is_reported);
        self.health = Health::Good;
    }

    /// Notes that a fetch has failed. After [`QUIET`], every failure is reported to the lane.
    pub(super) fn is_bad(&mut self, health: Health, now: Instant) {
        let since = *self.failing_since.get_or_insert(now);
        let is_passing = matches!(health, Health::Failing(..));
        if is_passing && !self.can_be_read() {
            // A permanent failure is not replaced by a temporary one.
            return;
        }
        let is_news = !is_passing || now.duration_since(since) >= QUIET;
        self.is_reported |= is_news;
        self.is_news |= is_news;
        self.health = health;
    }

    /// Notes that the partition cannot be read at all.
    pub(super) fn is_failed(&mut self, reason: &str) {
        self.health = Health::Failed(reason.to_owned());
        self.is_news = true;
    }

    /// Returns true if fetches of the partition may succeed.
    pub(super) fn can_be_read(&self) -> bool {
        matches!(self.health, Health::Good | Health::Failing(..))
    }

    /// Returns true if the health must be reported to the lane.
    pub(super) fn is_news(&self) -> bool {
        self.is_news
    }

    /// Returns the health if it must be reported to the lane. Each change is returned once.
    pub(super) fn take_news(&mut self) -> Option<Health> {
        std::mem::take(&mut self.is_news).then(|| self.health.clone())
    }
}
