//! Wakes the poll thread from other threads. Any number of calls before it sleeps count as one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A handle that wakes a waiting thread. Clones wake the same thread.
#[derive(Debug, Clone, Default)]
pub struct Waker(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    awake: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Waker {
    /// Wakes the waiting thread. If no thread waits, the next [`wait`](Self::wait) returns immediately.
    pub fn wake(&self) {
        if !self.0.awake.swap(true, Ordering::AcqRel) {
            // With the lock held, the waiter is either before its check or asleep.
            drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.changed.notify_one();
        }
    }

    /// Sleeps until woken, but at most for `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let asleep = |(): &mut ()| !self.0.awake.swap(false, Ordering::AcqRel);
        drop(self.0.changed.wait_timeout_while(guard, timeout, asleep));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let waker = Waker::default();
        waker.wake();
        waker.wait(Duration::MAX);
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let waker = Waker::default();
        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        waker.wait(Duration::MAX);
        thread.join().unwrap();
    }
}
