//! What a program costs: CPU time, and medians over rounds.

/// CPU seconds of this process, and of its children that have ended, with a resolution of 10 ms.
pub(crate) fn cpu_seconds() -> (f64, f64) {
    const TICKS_PER_S: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<f64> = text
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .map(|f| f.parse().unwrap_or(0.0))
        .collect();
    // utime, stime, cutime and cstime are the fields 14 to 17; the state is the third.
    ((fields[11] + fields[12]) / TICKS_PER_S, (fields[13] + fields[14]) / TICKS_PER_S)
}

/// The median of a measure over rounds.
pub(crate) fn median<T>(rounds: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<_> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
