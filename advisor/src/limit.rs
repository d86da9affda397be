//! The limit of a measurement: a stop flag and a deadline.
#![allow(clippy::disallowed_methods, reason = "a deadline needs a clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::Ended;

/// A stop flag and an optional deadline. Clones share the flag; each clone has its own deadline.
#[derive(Debug, Clone, Default)]
pub struct Limit {
    stop: Arc<AtomicBool>,
    until: Option<Instant>,
}

impl Limit {
    /// Returns a limit without a deadline, which is reached when `stop` is set.
    #[must_use]
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop, until: None }
    }

    /// Returns the same limit with a deadline at most `time` from now.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        let until = Instant::now().checked_add(time);
        let until = [self.until, until].into_iter().flatten().min();
        Self { stop: Arc::clone(&self.stop), until }
    }

    /// Returns the reason to end if the limit is reached.
    #[must_use]
    pub fn reached(&self) -> Option<Ended> {
        if self.is_stopped() {
            return Some(Ended::Interrupted);
        }
        self.until.filter(|until| Instant::now() >= *until).map(|_| Ended::OutOfTime)
    }

    /// Returns true if the stop flag is set.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Runs `question` on a separate thread and waits for its result. Calls `meanwhile` repeatedly while it waits. If
    /// the limit is reached and there is no result shortly afterwards, the thread is abandoned.
    ///
    /// # Errors
    /// If the limit is reached before there is a result.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<T, Ended> {
        /// Time for a question that checks the limit itself to return a result.
        const GRACE: Duration = Duration::from_millis(600);
        const LOOK: Duration = Duration::from_millis(50);
        let (answer, answered) = mpsc::channel();
        // Sending fails only if the receiver has given up.
        thread::spawn(move || drop(answer.send(question())));
        loop {
            meanwhile();
            let reached = self.reached();
            let wait = if reached.is_some() { GRACE } else { LOOK };
            match (answered.recv_timeout(wait), reached) {
                (Ok(answer), _) => return Ok(answer),
                (Err(_), Some(ended)) => return Err(ended),
                (Err(RecvTimeoutError::Timeout), None) => {}
                (Err(RecvTimeoutError::Disconnected), None) => return Err(Ended::Interrupted),
            }
        }
    }

    /// Returns the remaining time; `None` if there is no deadline.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_nobody_answers_is_left_behind() {
        let stop = Arc::<AtomicBool>::default();
        let limit = Limit::new(Arc::clone(&stop));
        assert_eq!(limit.ask(|| 7, &mut || {}), Ok(7));
        let (never, silent) = mpsc::channel::<()>();
        let asked = limit.ask(move || silent.recv().is_ok(), &mut || stop.store(true, Ordering::Release));
        assert_eq!(asked, Err(Ended::Interrupted));
        drop(never);
    }

    #[test]
    fn the_earlier_deadline_holds_and_the_flag_goes_before_both() {
        let stop = Arc::<AtomicBool>::default();
        let limit = Limit::new(Arc::clone(&stop));
        assert_eq!((limit.reached(), limit.left()), (None, None));
        let over = limit.within(Duration::ZERO).within(Duration::from_mins(1));
        assert_eq!((over.reached(), over.left()), (Some(Ended::OutOfTime), Some(Duration::ZERO)));
        stop.store(true, Ordering::Release);
        assert_eq!(over.reached(), Some(Ended::Interrupted));
        assert_eq!(limit.reached(), Some(Ended::Interrupted));
    }
}
