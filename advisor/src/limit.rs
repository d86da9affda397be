//! How long measuring may go on: until somebody ends it, or until a deadline.
#![allow(clippy::disallowed_methods, reason = "a deadline needs a clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::session::Ended;

/// Ends what is under way. Clones share the flag, and each has a deadline of its own.
#[derive(Debug, Clone, Default)]
pub struct Limit {
    stop: Arc<AtomicBool>,
    until: Option<Instant>,
}

impl Limit {
    /// Reached as soon as `stop` is set.
    #[must_use]
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop, until: None }
    }

    /// The same, and reached at the latest when so much time has passed from now on.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        let until = Instant::now().checked_add(time);
        let until = [self.until, until].into_iter().flatten().min();
        Self { stop: Arc::clone(&self.stop), until }
    }

    /// Why to end now; `None` if there is no reason to.
    #[must_use]
    pub fn reached(&self) -> Option<Ended> {
        if self.is_stopped() {
            return Some(Ended::Interrupted);
        }
        self.until.filter(|until| Instant::now() >= *until).map(|_| Ended::OutOfTime)
    }

    /// True if somebody ended it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Asks a question on a thread of its own and waits for the answer; `meanwhile` is called while it does. A
    /// question that is not answered soon after the limit is left behind with its thread.
    ///
    /// # Errors
    /// If the limit is reached before there is an answer.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<T, Ended> {
        /// A question that looks at the limit itself may still have something to say.
        const GRACE: Duration = Duration::from_millis(600);
        const LOOK: Duration = Duration::from_millis(50);
        let (answer, answered) = mpsc::channel();
        // Nobody listens any more if it fails.
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

    /// The time that is left; `None` if there is no deadline.
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
