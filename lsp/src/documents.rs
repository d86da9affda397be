//! The texts that the client has open: changes in, texts out. Other files are read from the host.

use std::collections::BTreeMap;
use std::ops::Range;

use lsp_types::Uri;
use serde_json::Value as Json;
use velo_lint::{Encoding, Files, Incremental, Language, LineColumn, LineIndex, Overlay};

use crate::convert::Places;

/// A text that the client has open.
#[derive(Debug)]
pub(crate) struct Open {
    pub uri: Uri,
    /// The path of its file as the client has it; the URI of a text without a file.
    pub name: String,
    /// The one path of its file, whatever the client calls it.
    pub path: String,
    pub version: i32,
    pub language: Language,
    pub text: String,
    pub lines: LineIndex,
    /// What was found in its statements.
    pub pieces: Incremental,
}

/// The texts that the client has open, by URI. Several may be the same file.
#[derive(Debug, Default)]
pub(crate) struct Documents(BTreeMap<String, Open>);

/// A change of a text: the places to replace, all if there are none, and what to put there.
#[derive(Debug)]
pub(crate) struct Change {
    range: Option<Range<LineColumn>>,
    text: String,
}

impl Change {
    /// Reads a change of the protocol. Returns `None` if it is none.
    pub(crate) fn parse(json: &Json) -> Option<Self> {
        let range = match json.get("range") {
            None | Some(Json::Null) => None,
            Some(range) => Some(place(&range["start"])?..place(&range["end"])?),
        };
        Some(Self { range, text: json["text"].as_str()?.to_owned() })
    }
}

/// Reads a position. What lies before the first line or column means that.
fn place(json: &Json) -> Option<LineColumn> {
    let number = |name: &str| {
        let number = json[name].as_i64()?;
        Some(usize::try_from(number).unwrap_or(0))
    };
    Some(LineColumn { line: number("line")?, column: number("character")? })
}

impl Open {
    /// Applies changes in their order.
    pub(crate) fn change(&mut self, version: i32, changes: Vec<Change>, encoding: Encoding) {
        self.version = version;
        // Up to this line, the index is that of the text. Editors change many places from the last to the first.
        let mut unchanged = usize::MAX;
        for Change { range, text } in changes {
            let Some(range) = range else {
                self.text = text;
                unchanged = 0;
                continue;
            };
            if range.end.line >= unchanged {
                self.lines = LineIndex::of_buffer(&self.text);
            }
            unchanged = range.start.line;
            let (start, end) =
                (self.lines.offset(range.start, encoding), self.lines.offset(range.end, encoding));
            self.text.replace_range(start..end.max(start), &text);
        }
        self.lines = LineIndex::of_buffer(&self.text);
    }

    pub(crate) fn places(&self, encoding: Encoding) -> Places<'_> {
        Places { lines: &self.lines, uri: &self.uri, encoding }
    }
}

impl Documents {
    pub(crate) fn get(&self, uri: &Uri) -> Option<&Open> {
        self.0.get(&uri.0)
    }

    pub(crate) fn get_mut(&mut self, uri: &Uri) -> Option<&mut Open> {
        self.0.get_mut(&uri.0)
    }

    pub(crate) fn add(&mut self, open: Open) {
        self.0.insert(open.uri.0.clone(), open);
    }

    pub(crate) fn remove(&mut self, uri: &Uri) -> Option<Open> {
        self.0.remove(&uri.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.0.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Open> {
        self.0.values_mut()
    }

    /// Returns the text of the file with this path, if it is open.
    pub(crate) fn at(&self, path: &str) -> Option<&Open> {
        self.iter().find(|open| open.path == path)
    }

    /// Returns the files of the host, with the open texts in place of theirs.
    pub(crate) fn over<'a>(&'a self, files: &'a (dyn Files + Sync)) -> Overlay<'a> {
        self.over_but(files, &[])
    }

    /// The same with these texts, of which some may be open with others.
    pub(crate) fn over_but<'a>(&'a self, files: &'a (dyn Files + Sync), texts: &[&'a Open]) -> Overlay<'a> {
        let first = |path: &str| texts.iter().copied().find(|text| text.path == path);
        let all = self.iter().map(|open| first(&open.path).unwrap_or(open));
        Overlay::of_canonical(files, all.map(|open| (open.path.as_str(), open.text.as_str())))
    }

    /// The same with another text for the file with this path.
    pub(crate) fn over_with<'a>(
        &'a self,
        files: &'a (dyn Files + Sync),
        path: &'a str,
        text: &'a str,
    ) -> Overlay<'a> {
        let others = self.iter().filter(move |open| open.path != path);
        let others = others.map(|open| (open.path.as_str(), open.text.as_str()));
        Overlay::of_canonical(files, others.chain([(path, text)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Open {
        Open {
            uri: Uri("file:///a.sql".to_owned()),
            name: "/a.sql".to_owned(),
            path: "/a.sql".to_owned(),
            version: 0,
            language: Language::Sql,
            text: text.to_owned(),
            lines: LineIndex::of_buffer(text),
            pieces: Incremental::default(),
        }
    }

    /// Changes `start..end`, each a line and a column, to a text.
    fn change(start: (i64, i64), end: (i64, i64), text: &str) -> Change {
        let place = |(line, character): (i64, i64)| serde_json::json!({"line": line, "character": character});
        let range = serde_json::json!({"start": place(start), "end": place(end)});
        Change::parse(&serde_json::json!({"range": range, "text": text})).expect("a change")
    }

    fn after(text: &str, changes: Vec<Change>, encoding: Encoding) -> String {
        let mut open = open(text);
        open.change(1, changes, encoding);
        assert_eq!(open.lines, LineIndex::of_buffer(&open.text));
        open.text
    }

    #[test]
    fn changes_apply_in_their_order_wherever_they_are() {
        let up = vec![change((2, 0), (2, 1), "C\n"), change((0, 0), (0, 1), "A\nA")];
        assert_eq!(after("a\nb\nc\n", up, Encoding::Utf8), "A\nA\nb\nC\n\n");
        let down = vec![change((0, 0), (0, 1), "A\nA"), change((3, 0), (3, 1), "C")];
        assert_eq!(after("a\nb\nc\n", down, Encoding::Utf8), "A\nA\nb\nC\n");
        let same_line = vec![change((0, 0), (0, 0), "x"), change((0, 1), (0, 1), "y")];
        assert_eq!(after("ab", same_line, Encoding::Utf8), "xyab");
    }

    #[test]
    fn places_beyond_the_text_or_before_it_are_its_ends() {
        for (start, end, expected) in [
            ((0, 9), (0, 9), "ab!\r\nc\rd"),
            ((9, 0), (9, 9), "ab\r\nc\rd!"),
            ((0, -1), (0, 1), "!b\r\nc\rd"),
            ((1, 1), (0, 0), "ab\r\nc!\rd"),
            ((2, 0), (2, 1), "ab\r\nc\r!"),
        ] {
            assert_eq!(after("ab\r\nc\rd", vec![change(start, end, "!")], Encoding::Utf16), expected);
        }
    }

    #[test]
    fn a_byte_order_mark_is_a_character_of_the_buffer() {
        for (encoding, behind) in [(Encoding::Utf16, 1), (Encoding::Utf8, 3)] {
            let text = "\u{feff}ab";
            assert_eq!(after(text, vec![change((0, 0), (0, 0), "!")], encoding), "!\u{feff}ab");
            assert_eq!(after(text, vec![change((0, behind), (0, behind), "!")], encoding), "\u{feff}!ab");
        }
    }

    #[test]
    fn what_is_no_change_is_not_taken_for_one() {
        for json in [
            r#"{"range": {"start": {"line": 0}, "end": {"line": 0, "character": 0}}, "text": "x"}"#,
            r#"{"range": 5, "text": "x"}"#,
            r#"{"text": 5}"#,
        ] {
            assert!(Change::parse(&serde_json::from_str(json).expect("JSON")).is_none(), "{json}");
        }
    }
}
