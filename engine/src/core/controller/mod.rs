//! The size of the next batch under `adaptive_size`: service times in, sizes out. Pure.
//!
//! A batch of n records is taken to cost a + b·n. Both are fitted by least squares whose weights halve
//! every few batches, and the next size is the one that should take a little less than the target. It at
//! most doubles or halves in a step, and grows only when the last batch was full: a batch that the
//! timer sealed says nothing about larger ones.

use std::time::Duration;

/// What the controller aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Smallest size.
    pub min_records: u64,
    /// Largest size.
    pub max_records: u64,
    /// Processing time of a batch.
    pub latency: Duration,
}

/// The share of the target that is aimed at, so that noise stays below it.
const AIM: f64 = 0.85;
/// What is left of a batch's weight after the next one.
const DECAY: f64 = 0.8;
/// Below this share of the target there is room to grow, whatever the fit says.
const FAR_BELOW: f64 = 0.7;
/// A batch this many times over the target is an overrun, and two of them in a row a new situation.
const OVERRUN: f64 = 1.5;
/// Sizes that vary less than this, relative to their mean, do not tell a from b.
const LEAST_VARIATION: f64 = 0.02;

/// The controller's state.
#[derive(Debug, Clone)]
pub struct Controller {
    target: Target,
    size: u64,
    fit: Fit,
    overruns: u32,
}

impl Controller {
    /// A controller that begins at the smallest size.
    #[must_use]
    pub fn new(target: Target) -> Self {
        // A largest size below the smallest one is refused long before; here the smallest wins.
        let target = Target { max_records: target.max_records.max(target.min_records), ..target };
        Self { target, size: target.min_records, fit: Fit::default(), overruns: 0 }
    }

    /// The size of the next batch.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A batch of `records` was processed in `service`; `full` where it held as many as it might.
    pub fn observe(&mut self, records: u64, service: Duration, full: bool) {
        let (records, took, target) =
            (records as f64, service.as_secs_f64(), self.target.latency.as_secs_f64());
        if took > OVERRUN * target {
            self.overruns += 1;
        } else {
            self.overruns = 0;
        }
        if self.overruns >= 2 {
            // What was learned holds no more.
            self.overruns = 0;
            self.fit = Fit::default();
            self.fit.add(records, took);
            self.size = self.clamp(self.size as f64 / 2.0);
            return;
        }
        self.fit.add(records, took);
        let wanted = match self.fit.line() {
            Some((fixed, per_record)) => (AIM * target - fixed) / per_record,
            // One size only: as if all of it grew with the records.
            None => records * AIM * target / took.max(1e-9),
        };
        // Far below the target the fit may still be all noise; growing as if a were zero is safe.
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

    /// The fixed time and that of each record, where sizes varied enough to tell.
    fn line(&self) -> Option<(f64, f64)> {
        let (mean_n, mean_t) = (self.n / self.weight, self.t / self.weight);
        let variance = (self.nn / self.weight - mean_n * mean_n).max(0.0);
        if variance.sqrt() < LEAST_VARIATION * mean_n {
            return None;
        }
        let slope = (self.nt / self.weight - mean_n * mean_t) / variance;
        // More records do not take less time; a slope that says so is noise.
        if slope <= 0.0 {
            return None;
        }
        let fixed = mean_t - slope * mean_n;
        // A negative fixed time is a slope that is too steep: through the mean instead.
        if fixed < 0.0 { Some((0.0, mean_t / mean_n)) } else { Some((fixed, slope)) }
    }
}

#[cfg(test)]
mod tests;
