//! JSON with comments, as editors write their own settings: the text in, the same without them out, every byte in its place.

use std::borrow::Cow;

/// Replaces the comments of a JSON text by blanks. Any other text stays as it is.
pub(super) fn without_comments(text: &str) -> Cow<'_, str> {
    let is_json = text.trim_start().strip_prefix('{').is_some_and(|rest| {
        let rest = rest.trim_start();
        rest.starts_with(['"', '}']) || rest.starts_with("//") || rest.starts_with("/*")
    });
    if !is_json || !(text.contains("//") || text.contains("/*")) {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    let mut in_string = false;
    while let Some(byte) = bytes.get(at) {
        // Behind a colon without a blank, it is a URL.
        let is_url = at > 0 && bytes[at - 1] == b':';
        let begins = !in_string && !is_url;
        let length = match &text.as_bytes()[at..] {
            rest @ [b'/', b'/', ..] if begins => memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()),
            rest @ [b'/', b'*', ..] if begins => {
                memchr::memmem::find(rest, b"*/").map_or(rest.len(), |end| end + 2)
            }
            _ => 0,
        };
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            // A string ends with its line.
            b'\n' => in_string = false,
            _ => {}
        }
        for byte in &mut bytes[at..at + length] {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        at += length.max(1);
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_json_become_blanks() {
        for (text, expected) in [
            ("{\"a\": 5, // é\n\"b\": 6}", "{\"a\": 5,      \n\"b\": 6}"),
            ("{/* a\n */\"b\": \"// c\"}", "{    \n   \"b\": \"// c\"}"),
            ("{\"a\": \"\\\"//\"}", "{\"a\": \"\\\"//\"}"),
            ("{\"a\": http://x}", "{\"a\": http://x}"),
            ("a: // b", "a: // b"),
            ("{a: 5 // b\n}", "{a: 5 // b\n}"),
        ] {
            assert_eq!(without_comments(text), expected);
        }
    }
}
