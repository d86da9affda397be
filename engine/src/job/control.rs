//! How other threads tell a running job to end.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::waker::Waker;

/// Tells a running job to end. Clones speak to the same one.
#[derive(Debug, Clone)]
pub struct Control {
    wish: Arc<AtomicU8>,
    /// Of all members of the job.
    wakers: Arc<Mutex<Vec<Waker>>>,
    waker: Waker,
}

impl Default for Control {
    fn default() -> Self {
        Self { wish: Arc::default(), wakers: Arc::default(), waker: Waker::default() }.member()
    }
}

/// What is wished of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    GoOn,
    Drain,
    Abandon,
}

impl Control {
    /// Take nothing more, settle and commit what is in flight, then end.
    pub fn drain(&self) {
        self.wish(Wish::Drain);
    }

    /// End now; what is in flight will be read again.
    pub fn abandon(&self) {
        self.wish(Wish::Abandon);
    }

    fn wish(&self, wish: Wish) {
        self.wish.fetch_max(wish as u8, Ordering::AcqRel);
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Waker::wake);
    }

    /// For another member of the same job, which sleeps by itself.
    #[must_use]
    pub fn member(&self) -> Self {
        let waker = Waker::default();
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker.clone());
        Self { waker, ..self.clone() }
    }

    pub(crate) fn wished(&self) -> Wish {
        match self.wish.load(Ordering::Acquire) {
            0 => Wish::GoOn,
            1 => Wish::Drain,
            _ => Wish::Abandon,
        }
    }

    /// What wakes the job; sources and sinks are built with it.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}
