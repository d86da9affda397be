//! `unquoted`: a key or a value of ours without quotes.

use super::{Rule, Severity};
use crate::finding::{Detail, Fix};
use crate::scan::Text;

/// A key or a value of ours without quotes.
pub const RULE: Rule = Rule {
    id: "unquoted",
    severity: Severity::Warning,
    summary: "A key or a value of ours without quotes.",
    doc: "A dotted key without quotes is a column reference to most SQL parsers, and a bare word an \
          identifier.",
    check: |unit, out| {
        let unterminated = |text: &Text| {
            let quote = text.span.start.checked_sub(1).map(|at| unit.text.as_bytes()[at]);
            matches!(quote, Some(b'\'' | b'"'))
        };
        for item in &unit.items {
            let key = (true, Some(&item.raw.key));
            let value = (false, item.raw.value.as_ref());
            for (is_key, text) in [key, value] {
                let Some(text) = text.filter(|text| !text.quoted && !unterminated(text)) else { continue };
                let quoted = format!("'{}'", &unit.text[text.span.clone()]);
                let fix = Fix::replace(true, text.span.clone(), quoted);
                out.add_fixable(&RULE, text.span.clone(), Detail::Unquoted { is_key }, Some(fix));
            }
        }
    },
};
