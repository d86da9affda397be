//! The handle of a job that runs on a separate thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::control::Control;
use crate::progress::Progress;
use crate::report::Report;

/// A job that runs on a separate thread. Dropping the handle ends the job like [`stop`](Self::stop).
#[derive(Debug)]
pub struct Engine {
    control: Control,
    progress: Arc<Mutex<Progress>>,
    thread: Option<JoinHandle<Report>>,
}

impl Engine {
    pub(super) fn new(control: Control, progress: Arc<Mutex<Progress>>, thread: JoinHandle<Report>) -> Self {
        Self { control, progress, thread: Some(thread) }
    }

    /// Returns the progress of the job and the notices since the last call. The progress is about a tenth of a second
    /// old at most.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut shown = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let notices = std::mem::take(&mut shown.notices);
        Progress { notices, ..shown.clone() }
    }

    /// Returns true if the job has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Drains the job and returns its report: no more records are taken, and the records in flight are settled and
    /// committed.
    #[must_use]
    pub fn drain(self) -> Report {
        self.control.drain();
        self.report()
    }

    /// Ends the job without settling the records in flight, which will be read again. Returns its report.
    #[must_use]
    pub fn stop(self) -> Report {
        self.control.abandon();
        self.report()
    }

    /// Waits until the job ends and returns its report.
    ///
    /// # Panics
    /// If the source has panicked.
    #[must_use]
    pub fn report(mut self) -> Report {
        let thread = self.thread.take().expect("the thread is joined only once");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.control.abandon();
            // A dropped handle has no caller to pass a panic to.
            let _ = thread.join();
        }
    }
}
