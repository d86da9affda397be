//! Plain scalars: as written in, as YAML's core schema reads them out.

use std::borrow::Cow;

/// A plain scalar as YAML's core schema reads it: `0x10`, `+16` and `1.6e1` are the number 16, `True` is true.
#[must_use]
pub(crate) fn resolved(plain: &str) -> Cow<'_, str> {
    match plain {
        "True" | "TRUE" => return Cow::Borrowed("true"),
        "False" | "FALSE" => return Cow::Borrowed("false"),
        _ => {}
    }
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let in_base = |prefix: &str, base| {
        let digits =
            plain.strip_prefix(prefix).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u64::from_str_radix(digits, base).ok()
    };
    if let Some(number) = in_base("0x", 16).or_else(|| in_base("0o", 8)) {
        return number.to_string().into();
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'-' | b'+'));
    if !is_number {
        return Cow::Borrowed(plain);
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let is_signless = !plain.starts_with('-') || digits.bytes().all(|b| b == b'0');
        return Cow::Borrowed(if is_signless { digits } else { plain });
    }
    plain.parse::<f64>().map_or(Cow::Borrowed(plain), |number| number.to_string().into())
}
