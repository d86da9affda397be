//! The handle of a job that runs on a thread of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::control::Control;
use crate::progress::Progress;
use crate::report::Report;

/// A job that runs on a thread of its own. Dropping it ends the job as [`stop`](Self::stop) does.
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

    /// How far the job is, a tenth of a second ago or less, and the notices since it was asked last.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut shown = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let notices = std::mem::take(&mut shown.notices);
        Progress { notices, ..shown.clone() }
    }

    /// Whether the job has ended by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Takes nothing more, settles and commits what is in flight, and returns the report.
    #[must_use]
    pub fn drain(self) -> Report {
        self.control.drain();
        self.report()
    }

    /// Ends the job now, and returns the report; what is in flight will be read again.
    #[must_use]
    pub fn stop(self) -> Report {
        self.control.abandon();
        self.report()
    }

    /// Waits until the job ends, and returns the report.
    ///
    /// # Panics
    /// Where the source has panicked.
    #[must_use]
    pub fn report(mut self) -> Report {
        let thread = self.thread.take().expect("the thread is there until the handle is gone");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.control.abandon();
            // A panic of a job that nobody waits for is nobody's.
            let _ = thread.join();
        }
    }
}
