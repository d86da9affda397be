//! How fetches of a partition go: successes and failures in, news for its lane out.

use std::time::{Duration, Instant};

use crate::kafka::fetch::Broken;
use crate::kafka::fetch::lane::FailureKind;

/// The time for which fetches may fail before the lane is told: leaders move, and brokers are restarted.
const QUIET: Duration = Duration::from_secs(3);

/// How the last fetch of a partition went.
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

/// The health of a partition, and what its lane knows of it.
#[derive(Debug, Default)]
pub(super) struct Condition {
    health: Health,
    failing_since: Option<Instant>,
    /// True if the lane was told that fetches fail.
    is_told: bool,
    /// True if the lane is to be told of `health`.
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
        self.is_news |= std::mem::take(&mut self.is_told);
        self.health = Health::Good;
    }

    /// Notes that a fetch has failed. A lane hears of each failure after a while: one that hears of none takes the
    /// fetches for good again.
    pub(super) fn is_bad(&mut self, health: Health, now: Instant) {
        let since = *self.failing_since.get_or_insert(now);
        let is_passing = matches!(health, Health::Failing(..));
        if is_passing && !self.can_be_read() {
            // What is worse stays.
            return;
        }
        let is_news = !is_passing || now.duration_since(since) >= QUIET;
        self.is_told |= is_news;
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

    /// Returns true if there is news for the lane.
    pub(super) fn is_news(&self) -> bool {
        self.is_news
    }

    /// Returns the health once after each time that the lane is to be told of it.
    pub(super) fn take_news(&mut self) -> Option<Health> {
        std::mem::take(&mut self.is_news).then(|| self.health.clone())
    }
}
