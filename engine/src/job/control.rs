//! Ends a running job from another thread.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::waker::Waker;

/// A control that ends a running job. Clones control the same job.
#[derive(Debug, Clone)]
pub struct Control {
    shutdown: Arc<AtomicU8>,
    /// The wakers of all members of the job.
    wakers: Arc<Mutex<Vec<Waker>>>,
    waker: Waker,
}

impl Default for Control {
    fn default() -> Self {
        Self { shutdown: Arc::default(), wakers: Arc::default(), waker: Waker::default() }.member()
    }
}

/// The requested way to end a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shutdown {
    None,
    Drain,
    Abort,
}

impl Control {
    /// Drains the job: no more records are taken, and the job ends once all records in flight are settled and
    /// committed.
    pub fn drain(&self) {
        self.request(Shutdown::Drain);
    }

    /// Ends the job without settling the records in flight. They will be read again.
    pub fn abandon(&self) {
        self.request(Shutdown::Abort);
    }

    fn request(&self, shutdown: Shutdown) {
        self.shutdown.fetch_max(shutdown as u8, Ordering::AcqRel);
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Waker::wake);
    }

    /// Returns a control for another member of the same job, with a separate waker.
    #[must_use]
    pub fn member(&self) -> Self {
        let waker = Waker::default();
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker.clone());
        Self { waker, ..self.clone() }
    }

    pub(crate) fn requested(&self) -> Shutdown {
        match self.shutdown.load(Ordering::Acquire) {
            0 => Shutdown::None,
            1 => Shutdown::Drain,
            _ => Shutdown::Abort,
        }
    }

    /// Returns the waker of the poll thread, which sources and sinks are built with.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}
