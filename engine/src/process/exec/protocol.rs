//! The lines that are exchanged with a program: batches are encoded as JSON lines, answers are decoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Headers};
use crate::core::failure::{RowError, Stage};
use crate::process::{Failure, Output};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// Without headers: records have no headers, and answers cannot set headers.
    V1,
    /// With headers.
    #[default]
    V2,
}

impl Version {
    /// Returns the number of the version, as in the first line.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// The first line that a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// The version of the protocol: 2, or 1 with `--exec-protocol 1`.
    pub velo_exec: u32,
}

/// A record that a program gets: one line. An absent field is null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputRecord {
    /// The number of the record in the batch, from 0.
    pub record: u32,
    /// The topic of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The offset of the record.
    pub offset: i64,
    /// The timestamp in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_ms: Option<i64>,
    /// The key, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key in base64, if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// The value, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64, if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// The headers in order; absent if there are none. Since version 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderLine>,
}

/// A header of a record. Names may repeat. An absent value is null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderLine {
    /// The name.
    pub name: String,
    /// The value, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64, if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
}

/// The answer of a program to a batch: one line, which sets exactly one of `ok`, `errors` and `error`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// True if all records succeeded.
    #[serde(default)]
    pub ok: bool,
    /// The records that failed. All other records succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<AnswerError>>,
    /// The reason if a record failed and the program cannot name it.
    #[serde(default)]
    pub error: Option<String>,
    /// The records to write instead of the input.
    #[serde(default)]
    pub records: Option<Vec<OutputLine>>,
}

/// A record that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerError {
    /// The number of the record in the batch.
    pub record: u32,
    /// The reason.
    pub message: String,
    /// True if another attempt may succeed.
    #[serde(default)]
    pub retriable: bool,
}

/// A record to write. An absent key or value is null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputLine {
    /// The number of the input record to which the output belongs.
    pub record: u32,
    /// The key, if it is UTF-8.
    #[serde(default)]
    pub key: Option<String>,
    /// The key in base64.
    #[serde(default)]
    pub key_base64: Option<String>,
    /// The value, if it is UTF-8.
    #[serde(default)]
    pub value: Option<String>,
    /// The value in base64.
    #[serde(default)]
    pub value_base64: Option<String>,
    /// The headers. If absent, the headers of the input record are kept. `[]` for no headers. Since version 2.
    #[serde(default)]
    pub headers: Option<Vec<HeaderLine>>,
}

/// The lines of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Protocol {
    /// The first line that a program gets.
    pub hello: Hello,
    /// A record of a batch.
    pub record: InputRecord,
    /// The answer to a batch.
    pub answer: Answer,
}

/// Appends the first line that a program gets.
pub(super) fn write_hello(version: Version, lines: &mut Vec<u8>) {
    write_line(&Hello { velo_exec: version.number() }, lines);
}

/// Appends a row as a line.
pub(super) fn write_record(batch: &Batch, row: u32, version: Version, lines: &mut Vec<u8>) {
    let origin = batch.origin(row);
    let (key, key_base64) = encoded(batch.key(row));
    let (value, value_base64) = encoded(batch.value(row));
    let header = |(name, value): &(String, Option<Vec<u8>>)| {
        let (value, value_base64) = encoded(value.as_deref());
        HeaderLine { name: name.clone(), value, value_base64 }
    };
    let headers = match version {
        Version::V1 => Vec::new(),
        Version::V2 => batch.headers(row).iter().map(header).collect(),
    };
    let record = InputRecord {
        record: row,
        topic: origin.map(|name| name.topic.to_string()),
        partition: origin.map(|name| name.partition),
        offset: batch.offset(row),
        timestamp_ms: batch.timestamp_ms(row),
        key,
        key_base64,
        value,
        value_base64,
        headers,
    };
    write_line(&record, lines);
}

fn write_line(line: &impl Serialize, lines: &mut Vec<u8>) {
    serde_json::to_writer(&mut *lines, line).expect("text keys and a memory buffer");
    lines.push(b'\n');
}

/// Returns bytes as text, or in base64 if they are not UTF-8.
fn encoded(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(std::str::from_utf8) {
        Some(Ok(text)) => (Some(text.to_owned()), None),
        Some(Err(_)) => (None, bytes.map(|bytes| BASE64.encode(bytes))),
        None => (None, None),
    }
}

/// An output record of an answer, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NewRecord {
    row: u32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// The headers; `None` for those of the input row.
    headers: Option<Headers>,
}

/// A validated answer with decoded bytes.
#[derive(Debug)]
pub(super) struct Verdict {
    errors: Vec<RowError>,
    error: Option<String>,
    records: Option<Vec<NewRecord>>,
}

impl Verdict {
    /// Reads the answer to a batch of `rows` records.
    ///
    /// # Errors
    /// If the line is not a valid answer. The reason names the field.
    pub(super) fn read(line: &[u8], rows: u32, version: Version) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(line).map_err(|error| {
            format!("the answer does not follow the protocol: {error}: {}", shortened(line))
        })?;
        let has_list = answer.errors.is_some();
        let errors = answer.errors.unwrap_or_default();
        // An empty list of errors is valid: all records succeeded.
        let set = [answer.ok, !errors.is_empty(), answer.error.is_some()];
        let set = set.iter().filter(|is_set| **is_set).count();
        if set > 1 || (set == 0 && !has_list) {
            return Err(format!(
                "the answer must set exactly one of ok, errors and error: {}",
                shortened(line)
            ));
        }
        if answer.error.is_some() && answer.records.is_some() {
            return Err(format!("an answer that sets error cannot set records: {}", shortened(line)));
        }
        let numbers = errors.iter().map(|error| error.record);
        let written = answer.records.iter().flatten().map(|line| line.record);
        if let Some(record) = numbers.chain(written).find(|record| *record >= rows) {
            return Err(format!(
                "the answer names record {record}, but the batch has {rows} records (from 0)"
            ));
        }
        let mut errors: Vec<_> = errors.into_iter().map(row_error).collect();
        errors.sort_by_key(|error| error.row);
        errors.dedup_by_key(|error| error.row);
        let records = answer.records.map(|lines| {
            lines.into_iter().map(|line| new_record(line, version)).collect::<Result<Vec<_>, _>>()
        });
        Ok(Self { errors, error: answer.error, records: records.transpose()? })
    }

    /// Adds the output of the answer to `out`.
    ///
    /// # Errors
    /// If the answer reports failed records.
    pub(super) fn put_out(self, out: &mut Output) -> Result<(), Failure> {
        if let Some(error) = self.error {
            return Err(Failure::Unnamed(error));
        }
        match self.records {
            None => out.forward_all(),
            Some(records) => {
                for NewRecord { row, key, value, headers } in records {
                    match headers {
                        None => out.push(row, key.as_deref(), value.as_deref()),
                        Some(headers) => {
                            out.push_with_headers(row, key.as_deref(), value.as_deref(), headers);
                        }
                    }
                }
            }
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Failure::Rows(self.errors)) }
    }
}

fn row_error(AnswerError { record, message, retriable }: AnswerError) -> RowError {
    RowError { row: record, stage: Stage::Process, message, retriable }
}

fn new_record(line: OutputLine, version: Version) -> Result<NewRecord, String> {
    let of_record = |error: String| format!("records, record {}: {error}", line.record);
    if line.headers.is_some() && version == Version::V1 {
        return Err(of_record("unknown field `headers` in version 1 of the protocol".to_owned()));
    }
    let headers = line.headers.map(|headers| headers.into_iter().map(header).collect::<Result<Headers, _>>());
    Ok(NewRecord {
        row: line.record,
        key: decoded("key", line.key, line.key_base64).map_err(of_record)?,
        value: decoded("value", line.value, line.value_base64).map_err(of_record)?,
        headers: headers.transpose().map_err(of_record)?,
    })
}

fn header(HeaderLine { name, value, value_base64 }: HeaderLine) -> Result<(String, Option<Vec<u8>>), String> {
    // librdkafka requires names as C strings.
    if name.is_empty() || name.contains('\0') {
        return Err("headers: a name is empty or contains a zero byte".to_owned());
    }
    let value = decoded("value", value, value_base64).map_err(|error| format!("header '{name}': {error}"))?;
    Ok((name, value))
}

/// Returns the bytes of a field that may be text or base64.
fn decoded(name: &str, text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("{name} and {name}_base64 are both set")),
        (text, None) => Ok(text.map(String::into_bytes)),
        (None, Some(base64)) => {
            let bytes = BASE64.decode(base64);
            bytes.map(Some).map_err(|error| format!("{name}_base64 is not base64: {error}"))
        }
    }
}

/// Returns the first 200 characters of a line, for an error message.
pub(super) fn shortened(line: &[u8]) -> String {
    const MOST: usize = 200;
    let start = String::from_utf8_lossy(&line[..line.len().min(4 * MOST)]);
    let shown: String = start.chars().take(MOST).collect();
    if shown.len() < line.len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Record};
    use crate::ids::{LaneId, Names};
    use crate::process::OutputRecord;

    fn read(line: &str) -> Result<Verdict, String> {
        Verdict::read(line.as_bytes(), 2, Version::V2)
    }

    #[test]
    fn a_record_goes_out_and_comes_back_as_it_is_whatever_its_bytes() {
        let headers: Headers = vec![
            ("trace".to_owned(), Some(b"abc".to_vec())),
            ("b".to_owned(), Some(vec![0xff])),
            ("b".to_owned(), None),
        ];
        let mut builder = BatchBuilder::default();
        for (offset, value) in [(0, b"text".as_slice()), (1, b"\xff\x00")] {
            let record =
                Record { offset, value: Some(value), headers: Some(headers.clone()), ..Record::default() };
            builder.push(LaneId(0), record);
        }
        let batch = builder.seal(Names::default());
        for row in 0..2 {
            let mut line = Vec::new();
            write_record(&batch, row, Version::V2, &mut line);
            let record: InputRecord = serde_json::from_slice(&line).unwrap();
            assert_eq!((record.record, record.offset), (row, i64::from(row)));
            let back = OutputLine {
                record: record.record,
                value: record.value,
                value_base64: record.value_base64,
                headers: Some(record.headers),
                ..OutputLine::default()
            };
            let back = new_record(back, Version::V2).unwrap();
            assert_eq!((back.value.as_deref(), back.headers), (batch.value(row), Some(headers.clone())));
            let mut old = Vec::new();
            write_record(&batch, row, Version::V1, &mut old);
            assert!(!String::from_utf8(old).unwrap().contains("headers"));
        }
    }

    #[test]
    fn an_output_has_its_own_headers_or_those_of_its_record() {
        let line = r#"{"ok":true,"records":[{"record":0},{"record":1,"headers":[]},
            {"record":1,"headers":[{"name":"a","value":"1"},{"name":"b","value_base64":"/w=="},{"name":"c"}]}]}"#;
        let mut out = Output::default();
        read(&line.replace('\n', "")).unwrap().put_out(&mut out).unwrap();
        let headers: Vec<_> = out
            .of_rows(0..2)
            .map(|(_, record)| match record {
                OutputRecord::New { headers, .. } => headers.cloned(),
                OutputRecord::Forward => panic!("nothing is forwarded"),
            })
            .collect();
        let own: Headers = vec![
            ("a".to_owned(), Some(b"1".to_vec())),
            ("b".to_owned(), Some(vec![0xff])),
            ("c".to_owned(), None),
        ];
        assert_eq!(headers, [None, Some(Vec::new()), Some(own)]);
    }

    #[test]
    fn what_does_not_belong_into_an_answer_is_named() {
        for (line, reason) in [
            ("garbage", "does not follow the protocol"),
            ("{}", "exactly one of ok, errors and error"),
            (r#"{"ok":true,"error":"x"}"#, "exactly one of ok, errors and error"),
            (r#"{"error":"x","records":[]}"#, "cannot set records"),
            (r#"{"ok":true,"x":1}"#, "unknown field `x`"),
            (r#"{"ok":true,"records":[{"record":0,"vaule":"x"}]}"#, "unknown field `vaule`"),
            (r#"{"ok":true,"records":[{"record":0,"headers":[{"key":"x"}]}]}"#, "unknown field `key`"),
            (r#"{"ok":true,"records":[{"record":0,"headers":[{"name":""}]}]}"#, "a name is empty"),
            (r#"{"errors":[{"record":0,"message":"","code":1}]}"#, "unknown field `code`"),
            (r#"{"errors":[{"record":9,"message":""}]}"#, "record 9, but the batch has 2 records"),
            (r#"{"ok":true,"records":[{"record":2}]}"#, "record 2, but the batch has 2 records"),
            (
                r#"{"ok":true,"records":[{"record":1,"value_base64":"?"}]}"#,
                "record 1: value_base64 is not base64",
            ),
            (
                r#"{"ok":true,"records":[{"record":1,"key":"","key_base64":""}]}"#,
                "key and key_base64 are both set",
            ),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
        let headers = br#"{"ok":true,"records":[{"record":0,"headers":[]}]}"#;
        let error = Verdict::read(headers, 1, Version::V1).unwrap_err();
        assert!(error.contains("unknown field `headers` in version 1"), "{error}");
        assert!(Verdict::read(br#"{"ok":true,"records":[{"record":0}]}"#, 1, Version::V1).is_ok());
    }

    #[test]
    fn a_list_of_no_errors_means_that_all_records_are_done() {
        for line in [r#"{"errors":[]}"#, r#"{"ok":true,"errors":[]}"#, r#"{"ok":true,"errors":null}"#] {
            let mut out = Output::default();
            assert_eq!(read(line).unwrap().put_out(&mut out), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_record_that_fails_twice_fails_once() {
        let line = r#"{"errors":[{"record":1,"message":"b"},{"record":0,"message":"a"},{"record":1,"message":"c"}]}"#;
        let failed = read(line).unwrap().put_out(&mut Output::default()).unwrap_err();
        let Failure::Rows(errors) = failed else { panic!("{failed:?}") };
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_long_line_is_shown_by_its_beginning() {
        assert_eq!(shortened(b"short"), "short");
        let long = "é".repeat(1000);
        let shown = shortened(long.as_bytes());
        assert_eq!(shown, format!("{}…", "é".repeat(200)));
    }
}
