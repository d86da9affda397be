//! Steal time: processor time that the hypervisor withheld from this machine. Linux reports it in `/proc/stat`.

/// Processor time since the start of the system, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steal {
    /// Steal time.
    others: u64,
    /// Total time.
    all: u64,
}

impl Steal {
    /// Returns the current counters; `None` if the system does not report them.
    pub(super) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// Parses the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and guest times,
    /// which the user time already includes.
    fn parse(stat: &str) -> Option<Self> {
        const STEAL: usize = 7;
        let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = ticks.take(STEAL + 1).map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { others: *ticks.get(STEAL)?, all: ticks.iter().sum() })
    }

    /// Returns the share of steal time since `before`.
    pub(super) fn share_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.others.saturating_sub(before.others) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_others_is_that_of_the_time_between() {
        let before = Steal::parse("cpu  100 0 50 800 10 0 0 40 5 5\ncpu0 1 2 3\n").unwrap();
        let now = Steal::parse("cpu  150 0 50 850 10 0 0 140 5 5\n").unwrap();
        assert!((now.share_since(before) - 0.5).abs() < 1e-9);
        assert!(before.share_since(before) < 1e-9);
        assert_eq!(Steal::parse("intr 1 2 3"), None);
        assert_eq!(Steal::parse("cpu  1 2 3 4"), None);
    }
}
