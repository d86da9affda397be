//! The status line on a terminal: other lines are written above it, and nothing of it stays behind.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The status line that is shown. There is one at a time.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A status line, shown until it is dropped; hidden if another one is shown already.
pub(crate) struct Status {
    bar: ProgressBar,
    is_shown: bool,
}

impl Status {
    /// A status line of indicatif's template.
    pub fn start(bar: ProgressBar, template: &str) -> Self {
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

    pub fn bar(&self) -> &ProgressBar {
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

/// Writes to the terminal while the status line is out of the way.
pub(crate) fn above<R>(write: impl FnOnce() -> R) -> R {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Stderr above the status line.
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

/// How fast something grows, over the last five seconds.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    seen: VecDeque<(Duration, u64)>,
}

/// A rate is a mean over this time.
const RATE_WINDOW: Duration = Duration::from_secs(5);

impl Rate {
    /// Its growth a second, with a count of now; 0 as long as no time has passed.
    pub fn add(&mut self, now: Duration, count: u64) -> f64 {
        self.seen.push_back((now, count));
        // The newest count that is old enough is where the window begins.
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
        // 1,000 records every half second, seen ten times a second.
        let shown: Vec<_> =
            (1..200_u64).map(|n| rate.add(Duration::from_millis(100 * n), n / 5 * 1000)).collect();
        assert!(shown[50..].iter().all(|rate| (1800.0..=2200.0).contains(rate)), "{shown:?}");
        // What stands still is seen to do so.
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
