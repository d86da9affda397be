//! The status line on a terminal. Other lines are written above it, and it is cleared at the end.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The visible status line. There is at most one.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A status line that is visible until it is dropped. It is hidden if another one is visible.
pub(crate) struct Status {
    bar: ProgressBar,
    is_shown: bool,
}

impl Status {
    /// Shows a status line with an indicatif template.
    pub(crate) fn start(bar: ProgressBar, template: &str) -> Self {
        let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shown = shown.is_none();
        let bar = if is_shown { bar } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if is_shown {
            *shown = Some(bar.clone());
        }
        Self { bar, is_shown }
    }

    pub(crate) fn bar(&self) -> &ProgressBar {
        &self.bar
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        if self.is_shown {
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.bar.finish_and_clear();
    }
}

/// Calls `write` while the status line is cleared, and redraws the line afterwards.
pub(crate) fn above<R>(write: impl FnOnce() -> R) -> R {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes to stderr, above the status line.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StderrAbove;

impl Write for StderrAbove {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        above(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The growth rate of a count, over [`RATE_WINDOW`].
#[derive(Debug, Default)]
pub(crate) struct Rate {
    seen: VecDeque<(Duration, u64)>,
}

/// The time over which a rate is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(5);

impl Rate {
    /// Adds the count at time `now` and returns the growth per second; 0 if no time has passed.
    pub(crate) fn add(&mut self, now: Duration, count: u64) -> f64 {
        self.seen.push_back((now, count));
        // The window begins at the newest count that is at least `RATE_WINDOW` old.
        while self.seen.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= RATE_WINDOW) {
            self.seen.pop_front();
        }
        let (since, before) = self.seen[0];
        let seconds = now.saturating_sub(since).as_secs_f64();
        if seconds > 0.0 { count.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_steady_although_records_come_in_batches() {
        let mut rate = Rate::default();
        assert!(rate.add(Duration::ZERO, 0).abs() < 1e-9);
        // 1,000 records every half second, counted ten times per second.
        let shown: Vec<_> =
            (1..200_u64).map(|n| rate.add(Duration::from_millis(100 * n), n / 5 * 1000)).collect();
        assert!(shown[50..].iter().all(|rate| (1800.0..=2200.0).contains(rate)), "{shown:?}");
        // The rate of a constant count drops to zero.
        let after = (200..260_u64).map(|n| rate.add(Duration::from_millis(100 * n), 39_000)).last();
        assert_eq!(after, Some(0.0));
        assert!(rate.seen.len() <= 52, "{}", rate.seen.len());
    }

    #[test]
    fn a_second_status_line_does_not_disturb_the_first() {
        let first = Status::start(ProgressBar::new_spinner(), "{msg}");
        drop(Status::start(ProgressBar::new_spinner(), "{msg}"));
        assert!(SHOWN.lock().unwrap().is_some());
        drop(first);
        assert!(SHOWN.lock().unwrap().is_none());
        assert_eq!(above(|| 5), 5);
    }
}
