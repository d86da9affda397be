//! Regular expressions in ECMA 262 of values: numbers, durations, words, and placeholders for them.
//!
//! Those of values are not anchored; [`value`] adds blanks, placeholders and anchors.

use std::time::Duration;

use crate::placeholder::{TEMPLATE_PATTERN, WHOLE_PATTERN};
use crate::strategy::Words;
use crate::value::{DURATION_UNITS, MAX_DURATION};

/// `${NAME:` of a placeholder whose default follows: the name of no provider, and neither `:?` nor `:+`.
const BEFORE_DEFAULT: &str = "\\s*\\$\\{(?!(?:env|file|directory|secret|secrets|secretmanager|vault|sys):)\
                              (?:(?!\\$\\{)[^:])*:(?![?+])";

/// Texts without another `${`.
const NO_VARIABLE: &str = "(?:(?!\\$\\{)[\\s\\S])*";

/// Placeholders whose default is one of `value`.
pub(super) fn with_default(value: &str) -> String {
    format!("{BEFORE_DEFAULT}(?:-|(?!-))\\s*(?:{value})\\s*\\}}\\s*")
}

/// Placeholders whose value is known only when the job is deployed.
pub(super) fn open() -> String {
    let variable = format!("(?!{BEFORE_DEFAULT}{NO_VARIABLE}\\}}\\s*$)[\\s\\S]*\\$\\{{[\\s\\S]*");
    format!("\\s*(?:{WHOLE_PATTERN})\\s*|[\\s\\S]*(?:{TEMPLATE_PATTERN})[\\s\\S]*|{variable}")
}

/// One of `value` with blanks around it, or a placeholder for it.
pub(super) fn value(value: &str) -> String {
    format!("^(?:\\s*(?:{value})\\s*|{}|{})$", with_default(value), open())
}

/// Whole numbers from `min` to `max`, leading zeros allowed.
pub(super) fn integer(min: u64, max: u64) -> String {
    format!("0*(?:{})", range(min, max))
}

/// Numbers from `min` to `max` without leading zeros, as alternatives: 37-4999 is 37-39, 40-99,
/// 100-999, 1000-4999.
fn range(min: u64, max: u64) -> String {
    let mut runs = Vec::new();
    let mut from = min;
    loop {
        let mut width = 1_u64;
        while let Some(wider) = width.checked_mul(10) {
            if from < wider || !from.is_multiple_of(wider) || max - from < wider - 1 {
                break;
            }
            width = wider;
        }
        let to = last_of_run(from, max, width);
        runs.push(run(from, to));
        if to == max {
            return runs.join("|");
        }
        from = to + 1;
    }
}

/// The end of the run that begins at `from`, of which the digit of `width` and all below it change.
fn last_of_run(from: u64, max: u64, width: u64) -> u64 {
    let digits_left = 9 - from / width % 10;
    let whole_widths = (max - from - (width - 1)) / width;
    from + whole_widths.min(digits_left) * width + (width - 1)
}

/// Numbers of one length that differ in a range of one digit and in all digits behind it.
fn run(from: u64, to: u64) -> String {
    let (first, last) = (from.to_string(), to.to_string());
    let mut pattern = String::new();
    let mut free = 0;
    for (a, b) in first.chars().zip(last.chars()) {
        match (a, b) {
            ('0', '9') => free += 1,
            _ if a == b => pattern.push(a),
            _ => pattern.push_str(&format!("[{a}-{b}]")),
        }
    }
    match free {
        0 => {}
        1 => pattern.push_str("[0-9]"),
        _ => pattern.push_str(&format!("[0-9]{{{free}}}")),
    }
    pattern
}

/// Durations up to the longest: a number, a unit.
pub(super) fn duration() -> String {
    let alternatives: Vec<_> = factors().into_iter().map(of_factor).collect();
    format!("0*(?:{})", alternatives.join("|"))
}

/// Durations that are longer than none.
pub(super) fn span() -> String {
    let units: Vec<_> = DURATION_UNITS.iter().map(|(unit, _)| *unit).collect();
    format!("(?!0+(?:\\.0+)?\\s*(?:{})\\s*\\}}?\\s*$){}", units.join("|"), duration())
}

/// The milliseconds of the units, each once.
fn factors() -> Vec<u64> {
    let mut factors: Vec<_> = DURATION_UNITS.iter().map(|(_, factor)| *factor).collect();
    factors.dedup();
    factors
}

/// Durations in the units of `factor` milliseconds.
fn of_factor(factor: u64) -> String {
    let units: Vec<_> =
        DURATION_UNITS.iter().filter(|(_, of)| *of == factor).map(|(unit, _)| *unit).collect();
    let most = u64::try_from(MAX_DURATION.as_millis()).unwrap_or(u64::MAX) / factor;
    // Nine digits behind the point are a nanosecond of a second; of a millisecond six are.
    let fraction = if Duration::from_millis(factor) < Duration::from_secs(1) {
        "\\.[0-9]{1,6}0{0,3}"
    } else {
        "\\.[0-9]{1,9}"
    };
    let number = format!("(?:{})(?:{fraction})?|{most}(?:\\.0{{1,9}})?", range(0, most - 1));
    format!("(?:{number})\\s*(?:{})", units.join("|"))
}

/// The words of a set in any case and with any separators.
pub(super) fn words<W: Words>() -> String {
    let of_word = |word: &W| {
        let letters = word.word().chars().filter(char::is_ascii_alphanumeric);
        letters.map(any_case).collect::<Vec<_>>().join("[-_ ]*")
    };
    let words: Vec<_> = W::ALL.iter().map(of_word).collect();
    format!("[-_ ]*(?:{})[-_ ]*", words.join("|"))
}

/// A letter in either case.
pub(super) fn any_case(letter: char) -> String {
    format!("[{}{}]", letter.to_ascii_lowercase(), letter.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_match(pattern: &str, text: &str) -> bool {
        let pattern = format!("^(?:{pattern})$");
        let schema = serde_json::json!({"type": "string", "pattern": pattern});
        jsonschema::validator_for(&schema).unwrap().is_valid(&serde_json::json!(text))
    }

    #[test]
    fn ranges_are_short() {
        assert_eq!(range(1, 9), "[1-9]");
        assert_eq!(range(0, 99), "[0-9]|[1-9][0-9]");
        assert_eq!(range(10_000, 100_000), "[1-9][0-9]{4}|100000");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_range_holds_exactly_its_numbers(a in 0_u64..3000, b in 0_u64..3000, c in 0_u64..3100) {
            let (min, max) = (a.min(b), a.max(b));
            let pattern = integer(min, max);
            for n in [c, min, max, max + 1, min.saturating_sub(1)] {
                prop_assert_eq!(is_match(&pattern, &n.to_string()), (min..=max).contains(&n), "{} in {}", n, &pattern);
            }
        }
    }
}
