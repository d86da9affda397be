//! Text as XML can hold it.

use std::borrow::Cow;

/// Returns a text with U+FFFD in place of each character that XML 1.0 cannot hold, not even escaped.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.contains(is_foreign) {
        Cow::Owned(text.replace(is_foreign, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn is_foreign(character: char) -> bool {
    let is_control = character < ' ' && !matches!(character, '\t' | '\n' | '\r');
    is_control || matches!(character, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_xml_cannot_hold_is_replaced() {
        assert_eq!(text("a\u{0}\t\u{1b}[\u{ffff}"), "a\u{fffd}\t\u{fffd}[\u{fffd}");
        let fine = "\t\r\n <&> \u{7f}\u{85}\u{fffd}\u{1f600}";
        assert!(matches!(text(fine), Cow::Borrowed(same) if same == fine));
    }
}
