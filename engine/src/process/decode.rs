//! Checks the encoding of values: a batch in, the rows with invalid values out.

use serde_json::error::Category;

use crate::batch::Batch;
use crate::core::failure::{RowError, Stage};

/// The format of record values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueFormat {
    /// Any bytes.
    #[default]
    Bytes,
    /// A JSON object.
    Json,
}

impl ValueFormat {
    /// Returns the rows of `batch` whose values are not in this format.
    #[must_use]
    pub fn check(self, batch: &Batch) -> Vec<RowError> {
        match self {
            Self::Bytes => Vec::new(),
            Self::Json => (0..batch.len()).filter_map(|row| json_error(batch, row)).collect(),
        }
    }
}

/// Returns the error of a row, if its value is not a JSON object. The message has the position of the error, but no
/// part of the value, which may be confidential.
fn json_error(batch: &Batch, row: u32) -> Option<RowError> {
    // A null value is a tombstone in a compacted topic and has no format.
    let value = batch.value(row)?;
    let reason = match std::str::from_utf8(value) {
        Err(error) => format!("invalid UTF-8 at byte {}", error.valid_up_to()),
        Ok(text) => {
            let error = serde_json::from_str::<JsonObject>(text).err()?;
            let what = match error.classify() {
                Category::Eof => "unexpected end",
                Category::Data => "another JSON type",
                Category::Syntax | Category::Io => "syntax error",
            };
            format!("{what} at line {} column {}", error.line(), error.column())
        }
    };
    let message = format!("the value is not a JSON object: {reason}");
    Some(RowError { row, stage: Stage::Decode, message, retriable: false })
}

/// Accepts any JSON object and discards its content.
struct JsonObject;

impl<'de> serde::Deserialize<'de> for JsonObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = JsonObject;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                use serde::de::IgnoredAny;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(JsonObject)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Record};
    use crate::ids::{LaneId, Names};
    use std::sync::Arc;

    fn batch(values: &[&[u8]]) -> Arc<Batch> {
        let mut builder = BatchBuilder::default();
        for (offset, value) in (0..).zip(values) {
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal(Names::default())
    }

    #[test]
    fn only_objects_are_json_objects() {
        let values: [&[u8]; 8] =
            [b"{}", b" {\"a\": [1, {\"b\": null}]} ", b"[]", b"1", b"{", b"", b"{\"a\": \"\xFF\"}", b"{} {}"];
        let bad: Vec<_> = ValueFormat::Json.check(&batch(&values)).iter().map(|error| error.row).collect();
        assert_eq!(bad, [2, 3, 4, 5, 6, 7]);
        assert!(ValueFormat::Bytes.check(&batch(&values)).is_empty());
        let secret = ValueFormat::Json.check(&batch(&[b"\"hunter2\""]));
        assert!(!secret[0].message.contains("hunter2"), "{}", secret[0].message);
    }

    #[test]
    fn a_tombstone_is_no_json_and_no_mistake() {
        let mut builder = BatchBuilder::default();
        builder.push(LaneId(0), Record::default());
        assert!(ValueFormat::Json.check(&builder.seal(Names::default())).is_empty());
    }
}
