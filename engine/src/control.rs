//! How other threads tell a running job to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::waker::Waker;

/// Tells a running job to end. Clones speak to the same one.
#[derive(Debug, Clone, Default)]
pub struct Control {
    wish: Arc<AtomicU8>,
    waker: Waker,
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
        self.waker.wake();
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
