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
    fn durations_print_in_the_largest_exact_unit() {
        assert_eq!(format_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_duration(Duration::from_hours(2)), "2h");
        assert_eq!(format_duration(Duration::ZERO), "0ms");
        assert_eq!(format_duration(Duration::from_nanos(1500)), "1500ns");
    }
}
