//! What is written at a place: a key or a value, which bytes of it, and what has to be around it.

use std::ops::Range;

/// What can be written at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A key.
    Key {
        /// The names of the mappings around it, each followed by a dot.
        path: String,
        /// What is written of the key up to the cursor.
        written: String,
        slot: Slot,
        /// True if whole lines can be written here.
        is_line: bool,
    },
    /// The value of this key, which has the names of the mappings around it.
    Value { key: String, slot: Slot },
}

/// The bytes to replace, and what goes around the new text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub bytes: Range<usize>,
    pub before: String,
    /// The text after a complete key or after a value; `$0` is the cursor.
    pub after: String,
    /// The text after the beginning of a key, such as `source.`.
    pub close: String,
    pub syntax: Syntax,
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Sql,
    Yaml,
    Json,
}

impl Place {
    /// The bytes to replace, and what goes around the new text.
    pub(super) fn slot(&self) -> &Slot {
        let (Self::Key { slot, .. } | Self::Value { slot, .. }) = self;
        slot
    }

    /// The same place in a text with `bytes` more in front.
    pub(super) fn moved(mut self, bytes: usize) -> Self {
        let (Self::Key { slot, .. } | Self::Value { slot, .. }) = &mut self;
        slot.bytes = slot.bytes.start + bytes..slot.bytes.end + bytes;
        self
    }
}

/// A part of a key or a value that goes on around the cursor.
pub(super) fn word(text: &str, offset: usize, is_part: impl Fn(char) -> bool) -> Range<usize> {
    let before = text[..offset].chars().rev().take_while(|c| is_part(*c)).map(char::len_utf8).sum::<usize>();
    let behind = text[offset..].chars().take_while(|c| is_part(*c)).map(char::len_utf8).sum::<usize>();
    offset - before..offset + behind
}

/// True for what keys consist of.
pub(super) fn is_of_key(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}
