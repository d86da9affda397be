//! YAML text in, its documents as JSON out, as an editor or a validator reads them: core schema, aliases,
//! merge keys. Independent of how lint reads YAML.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value as Json};

/// A collection that is being read, and the number of its anchor.
enum Frame {
    Mapping { entries: Map<String, Json>, merged: Vec<Json>, key: Option<String>, anchor: usize },
    Sequence { items: Vec<Json>, anchor: usize },
}

#[derive(Default)]
struct Loader {
    frames: Vec<Frame>,
    anchors: HashMap<usize, Json>,
    documents: Vec<Json>,
}

/// The documents of a text; none if it is no YAML.
pub(crate) fn documents(text: &str) -> Option<Vec<Json>> {
    let mut loader = Loader::default();
    for event in Parser::new_from_str(text) {
        match event.ok()?.0 {
            Event::Scalar(value, style, anchor, tag) => {
                let value = scalar(&value, style == ScalarStyle::Plain && tag.is_none());
                loader.value(anchor, value);
            }
            Event::Alias(id) => {
                let value = loader.anchors.get(&id).cloned().unwrap_or_default();
                loader.value(0, value);
            }
            Event::MappingStart(_, anchor, _) => {
                let frame = Frame::Mapping { entries: Map::new(), merged: Vec::new(), key: None, anchor };
                loader.frames.push(frame);
            }
            Event::SequenceStart(_, anchor, _) => {
                loader.frames.push(Frame::Sequence { items: Vec::new(), anchor });
            }
            Event::MappingEnd | Event::SequenceEnd => loader.end(),
            _ => {}
        }
    }
    Some(loader.documents)
}

impl Loader {
    fn value(&mut self, anchor: usize, value: Json) {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.frames.last_mut() {
            None => self.documents.push(value),
            Some(Frame::Sequence { items, .. }) => items.push(value),
            Some(Frame::Mapping { entries, merged, key, .. }) => match key.take() {
                None => {
                    *key = Some(match value {
                        Json::String(name) => name,
                        other => other.to_string(),
                    });
                }
                Some(name) if name == "<<" => match value {
                    Json::Array(several) => merged.extend(several),
                    one => merged.push(one),
                },
                Some(name) => drop(entries.insert(name, value)),
            },
        }
    }

    fn end(&mut self) {
        match self.frames.pop() {
            Some(Frame::Mapping { mut entries, merged, anchor, .. }) => {
                // What is written goes before what is merged, an earlier one before a later one.
                for (name, value) in merged.into_iter().filter_map(|one| one.as_object().cloned()).flatten() {
                    entries.entry(name).or_insert(value);
                }
                self.value(anchor, entries.into());
            }
            Some(Frame::Sequence { items, anchor }) => self.value(anchor, items.into()),
            None => {}
        }
    }
}

/// A scalar; a plain one by the core schema.
fn scalar(text: &str, is_plain: bool) -> Json {
    let string = || Json::String(text.to_owned());
    if !is_plain {
        return string();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "true" | "True" | "TRUE" => return Json::Bool(true),
        "false" | "False" | "FALSE" => return Json::Bool(false),
        _ => {}
    }
    for (prefix, base) in [("0x", 16), ("0o", 8)] {
        if let Some(number) =
            text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, base).ok())
        {
            return number.into();
        }
    }
    if !text.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
        || !text.bytes().any(|b| b.is_ascii_digit())
    {
        return string();
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let integer =
        unsigned.parse::<u64>().map(Number::from).or_else(|_| unsigned.parse::<i64>().map(Number::from));
    let number = integer.ok().or_else(|| text.parse().ok().and_then(Number::from_f64));
    number.map_or_else(string, Json::Number)
}
