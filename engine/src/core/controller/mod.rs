//! Chooses the size of the next batch under `adaptive_size`: service times in, sizes out. Pure.
//!
//! The model: a batch of n records costs a + b·n. Both coefficients are fitted by least squares whose weights halve
//! every few batches, and the next size is the one whose predicted time is a little below the target. The size at
//! most doubles or halves in a step. It grows only after a full batch, because a batch that was sealed by the timer
//! gives no information about larger batches.

use std::time::Duration;

/// The target of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The minimum number of records of a batch.
    pub min_records: u64,
    /// The maximum number of records of a batch.
    pub max_records: u64,
    /// The target processing time of a batch.
    pub latency: Duration,
}

/// The fraction of the target that the controller aims at, so that noise stays below the target.
const AIM: f64 = 0.85;
/// The factor by which the weight of a batch decreases with each later batch.
const DECAY: f64 = 0.8;
/// The size may grow below this fraction of the target even if the fit predicts otherwise.
const FAR_BELOW: f64 = 0.7;
/// A batch that takes longer than this multiple of the target is an overrun. Two overruns in a row reset the fit.
const OVERRUN: f64 = 1.5;
/// The minimum standard deviation of the sizes, relative to their mean, that separates a from b.
const LEAST_VARIATION: f64 = 0.02;

/// The state of the controller.
#[derive(Debug, Clone)]
pub struct Controller {
    target: Target,
    size: u64,
    fit: Fit,
    overruns: u32,
}

impl Controller {
    /// Creates a controller that starts at the minimum size.
    #[must_use]
    pub fn new(target: Target) -> Self {
        // A maximum below the minimum is rejected when settings are resolved. Here the minimum takes precedence.
        let target = Target { max_records: target.max_records.max(target.min_records), ..target };
        Self { target, size: target.min_records, fit: Fit::default(), overruns: 0 }
    }

    /// Returns the size of the next batch in records.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adjusts the size to a batch of `records` that was processed in `service`. `full` is true if the batch had the
    /// maximum number of records.
    pub fn observe(&mut self, records: u64, service: Duration, full: bool) {
        let (records, took, target) =
            (records as f64, service.as_secs_f64(), self.target.latency.as_secs_f64());
        if took > OVERRUN * target {
            self.overruns += 1;
        } else {
            self.overruns = 0;
        }
        if self.overruns >= 2 {
            // The earlier measurements no longer apply.
            self.overruns = 0;
            self.fit = Fit::default();
            self.fit.add(records, took);
            self.size = self.clamp(self.size as f64 / 2.0);
            return;
        }
        self.fit.add(records, took);
        let wanted = match self.fit.line() {
            Some((fixed, per_record)) => (AIM * target - fixed) / per_record,
            // All batches had about the same size: attribute all of the time to the records.
            None => records * AIM * target / took.max(1e-9),
        };
        // Far below the target the fit may be dominated by noise. Growth as if a were zero is safe.
        let wanted = if took < FAR_BELOW * target {
            wanted.max(records * AIM * target / took.max(1e-9))
        } else {
            wanted
        };
        let current = self.size as f64;
        let next = wanted.clamp(current / 2.0, current * 2.0);
        if full || next < current {
            self.size = self.clamp(next);
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the bounds of a u64"
    )]
    fn clamp(&self, size: f64) -> u64 {
        (size.round().max(0.0) as u64).clamp(self.target.min_records, self.target.max_records)
    }
}

/// Weighted sums for a line through sizes and times.
#[derive(Debug, Clone, Copy, Default)]
struct Fit {
    weight: f64,
    n: f64,
    t: f64,
    nn: f64,
    nt: f64,
}

impl Fit {
    fn add(&mut self, records: f64, took: f64) {
        for (sum, value) in [
            (&mut self.weight, 1.0),
            (&mut self.n, records),
            (&mut self.t, took),
            (&mut self.nn, records * records),
            (&mut self.nt, records * took),
        ] {
            *sum = *sum * DECAY + value;
        }
    }

    /// Returns the fixed time and the time per record, if the sizes varied enough to separate them.
    fn line(&self) -> Option<(f64, f64)> {
        let (mean_n, mean_t) = (self.n / self.weight, self.t / self.weight);
        let variance = (self.nn / self.weight - mean_n * mean_n).max(0.0);
        if variance.sqrt() < LEAST_VARIATION * mean_n {
            return None;
        }
        let slope = (self.nt / self.weight - mean_n * mean_t) / variance;
        // More records do not take less time, so a slope of zero or less is noise.
        if slope <= 0.0 {
            return None;
        }
        let fixed = mean_t - slope * mean_n;
        // With a negative fixed time the slope is too steep: use the line through zero and the mean.
        if fixed < 0.0 { Some((0.0, mean_t / mean_n)) } else { Some((fixed, slope)) }
    }
}

#[cfg(test)]
mod tests;
