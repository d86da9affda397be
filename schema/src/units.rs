//! Sizes and durations as people write them: bytes and durations to text, sizes from text.

use std::time::Duration;

/// Units of a size, the decimal and the binary ones, largest first within each.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("b", 1),
    ("", 1),
];

/// Bytes from `10485760`, `10MB` (10^6) or `10MiB` (2^20), for command-line options.
///
/// Values of `batch.memory_size` are bare bytes and are not read with this.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text.trim())?;
    let unit = unit.to_ascii_lowercase();
    let &(_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    scale(number, factor)
}

/// Splits `1.5 MiB` into its number and its unit; `None` where there is no leading digit.
pub(crate) fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    number.starts_with(|c: char| c.is_ascii_digit()).then(|| (number, unit.trim_start()))
}

/// `number × factor` for an integer or a decimal, exact; `None` on overflow or a bad number.
///
/// Digits behind the point that the factor cannot express are an error too: nothing is rounded.
pub(crate) fn scale(number: &str, factor: u64) -> Option<u64> {
    let (product, rest) = scale_with_rest(number, factor)?;
    (rest == 0).then_some(product)
}

/// The same, rounded down.
pub(crate) fn scale_floor(number: &str, factor: u64) -> Option<u64> {
    scale_with_rest(number, factor).map(|(product, _)| product)
}

/// The whole part of `number × factor`, and what is left over, of 10 to the number of decimals.
fn scale_with_rest(number: &str, factor: u64) -> Option<(u64, u128)> {
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
        None => (number, ""),
    };
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if fraction.is_empty() {
        return Some((whole, 0));
    }
    let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(factor).checked_mul(fraction.parse::<u128>().ok()?)?;
    let product = whole.checked_add(u64::try_from(part / divisor).ok()?)?;
    Some((product, part % divisor))
}

/// Bytes as `10 MiB` where that is exact, else with one decimal, else as plain bytes.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let (unit, factor) = match bytes {
        0..1024 => return format!("{bytes} B"),
        1024..0x10_0000 => ("KiB", 1_u64 << 10),
        0x10_0000..0x4000_0000 => ("MiB", 1 << 20),
        _ => ("GiB", 1 << 30),
    };
    if bytes.is_multiple_of(factor) {
        format!("{} {unit}", bytes / factor)
    } else {
        format!("{:.1} {unit}", bytes as f64 / factor as f64)
    }
}

/// A duration in the guide's own spelling, with the largest unit that is exact: `90s`, `2h`, `1500ms`.
///
/// Below a millisecond it falls back to `us` or `ns`, which only measured times have.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [
        ("d", 86_400_000_000_000_u128),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    if nanos == 0 {
        return "0ms".to_owned();
    }
    let exact = units.iter().find(|(_, factor)| nanos.is_multiple_of(*factor));
    exact.map_or_else(|| format!("{nanos}ns"), |(unit, factor)| format!("{}{unit}", nanos / factor))
}

/// A measured time, rounded for people: `830 µs`, `12.5 ms`, `47.9 s`, `3 min 5 s`, `2 h 10 min`, `4 d 6 h`.
#[must_use]
pub fn format_elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let rounded = |number: f64| {
        // Three digits say what a measurement can.
        let text = if number < 99.95 { format!("{number:.1}") } else { format!("{number:.0}") };
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    };
    let parts = |all: u64, small: u64, (large_unit, small_unit): (&str, &str)| match all % small {
        0 => format!("{} {large_unit}", all / small),
        rest => format!("{} {large_unit} {rest} {small_unit}", all / small),
    };
    match duration.as_secs() {
        _ if duration.is_zero() => "0 s".to_owned(),
        _ if seconds < 999.5e-6 => format!("{} µs", rounded(seconds * 1e6)),
        _ if seconds < 0.9995 => format!("{} ms", rounded(seconds * 1e3)),
        _ if seconds < 59.95 => format!("{} s", rounded(seconds)),
        whole @ 0..3600 => parts(whole + u64::from(duration.subsec_millis() >= 500), 60, ("min", "s")),
        whole @ 3600..172_800 => parts(whole / 60, 60, ("h", "min")),
        whole => parts(whole / 3600, 24, ("d", "h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_decimal_and_binary_apart() {
        assert_eq!(parse_bytes("10MB"), Some(10_000_000));
        assert_eq!(parse_bytes("10 MiB"), Some(10_485_760));
        assert_eq!(parse_bytes("1.5KiB"), Some(1536));
        assert_eq!(parse_bytes("512"), Some(512));
        assert_eq!(parse_bytes("20000000GiB"), Some(20_000_000 << 30));
        assert_eq!(parse_bytes("999999999999GiB"), None);
        assert_eq!(parse_bytes("ten"), None);
        assert_eq!(parse_bytes("-1"), None);
    }

    #[test]
    fn measured_times_are_rounded() {
        for (nanos, text) in [
            (0, "0 s"),
            (830_000, "830 µs"),
            (1_260, "1.3 µs"),
            (12_500_000, "12.5 ms"),
            (50_000_000, "50 ms"),
            (999_900_000, "1 s"),
            (47_915_850_837, "47.9 s"),
            (59_990_000_000, "1 min"),
            (185_000_000_000, "3 min 5 s"),
            (7_860_000_000_000, "2 h 11 min"),
            (367_200_000_000_000, "4 d 6 h"),
        ] {
            assert_eq!(format_elapsed(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(format_elapsed(Duration::MAX), "213503982334601 d 7 h");
    }

    #[test]
    fn durations_print_in_the_largest_exact_unit() {
        assert_eq!(format_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_duration(Duration::from_hours(2)), "2h");
        assert_eq!(format_duration(Duration::ZERO), "0ms");
        assert_eq!(format_duration(Duration::from_nanos(1500)), "1500ns");
    }
}
