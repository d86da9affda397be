//! The contents of a dead letter queue, as text and as JSON.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// Output of `velo dlq show --format json`. Later versions only add fields.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Letters {
    /// Version of this format: 1.
    pub version: u32,
    /// Dead letter queue topic.
    pub topic: String,
    /// Number of selected dead letters.
    pub selected: u64,
    /// Number of dead letters that are not selected, by stage.
    pub others: BTreeMap<String, u64>,
    /// Number of records without origin headers.
    pub foreign: u64,
    /// Selected dead letters by stage and error. Errors that differ only in numbers are counted together.
    pub by_error: Vec<ByError>,
    /// The newest selected dead letters, newest first.
    pub newest: Vec<Letter>,
}

/// Dead letters with the same stage and error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ByError {
    pub stage: String,
    /// The error, with # in place of each number.
    pub error: String,
    pub count: u64,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Letter {
    /// Partition of the dead letter queue.
    pub partition: i32,
    /// Offset in that partition.
    pub offset: i64,
    /// Coordinates of the original record.
    pub origin: Origin,
    pub stage: String,
    pub error: String,
    /// Consumer group of the job in which the record failed.
    pub group: Option<String>,
    /// Number of attempts.
    pub attempts: Option<u32>,
    /// Timestamp of the original record, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    pub key_bytes: Option<u64>,
    pub value_bytes: Option<u64>,
}

/// Coordinates of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub(crate) struct Origin {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

#[cfg(feature = "kafka")]
impl Letters {
    /// Formats the dead letters as tables.
    pub(crate) fn text(&self, filter: &Filter<'_>) -> String {
        let mut text = match self.selected {
            0 => filter.without_match(&self.topic, &self.others),
            1 => format!("1 dead letter in {}", self.topic),
            selected => format!("{selected} dead letters in {}", self.topic),
        };
        let others: u64 = self.others.values().sum();
        if self.selected > 0 && others > 0 {
            text += &format!(" with {filter}; {others} others");
        }
        if self.foreign > 0 {
            text += &format!(", and {} records without origin headers", self.foreign);
        }
        text.push('\n');
        if !self.by_error.is_empty() {
            let mut table = super::plan::table(&["records", "stage", "error"]);
            for ByError { stage, error, count } in &self.by_error {
                table.add_row([count.to_string(), stage.clone(), brief(error)]);
            }
            text += &format!("{table}\n");
        }
        if !self.newest.is_empty() {
            let mut table =
                super::plan::table(&["dead letter", "origin", "stage", "attempts", "time", "error"]);
            for letter in &self.newest {
                let attempts = letter.attempts.map(|attempts| attempts.to_string()).unwrap_or_default();
                table.add_row([
                    format!("[{}]@{}", letter.partition, letter.offset),
                    letter.origin.to_string(),
                    letter.stage.clone(),
                    attempts,
                    letter.timestamp_ms.map(time).unwrap_or_default(),
                    brief(&letter.error),
                ]);
            }
            text += &format!("{table}\n");
        }
        text
    }
}

/// The selection of dead letters.
#[cfg(feature = "kafka")]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter<'a> {
    pub stage: Option<&'a str>,
    pub error: Option<&'a str>,
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
}

#[cfg(feature = "kafka")]
impl std::fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stage = self.stage.map(|stage| format!("--stage {stage}"));
        let error = self.error.map(|error| format!("--error '{error}'"));
        let since = self.since_ms.map(|since_ms| format!("--since {}", time(since_ms)));
        let until = self.until_ms.map(|until_ms| format!("--until {}", time(until_ms)));
        let parts: Vec<_> = [stage, error, since, until].into_iter().flatten().collect();
        f.write_str(&parts.join(" and "))
    }
}

#[cfg(feature = "kafka")]
impl Filter<'_> {
    /// Returns the message for a selection without dead letters.
    pub(crate) fn without_match(&self, topic: &str, others: &BTreeMap<String, u64>) -> String {
        let count: u64 = others.values().sum();
        if count == 0 {
            return format!("0 dead letters in {topic}");
        }
        let stages: Vec<_> = others.iter().map(|(stage, count)| format!("{stage} {count}")).collect();
        format!("0 dead letters in {topic} match {self}; it has {count}, by stage: {}", stages.join(", "))
    }
}

/// Shortens an error for a table to the start of its first line.
#[cfg(feature = "kafka")]
fn brief(error: &str) -> String {
    const MOST: usize = 160;
    let line = error.lines().next().unwrap_or_default();
    let end = line.char_indices().nth(MOST).map_or(line.len(), |(at, _)| at);
    if end == error.len() { error.to_owned() } else { format!("{}…", &line[..end]) }
}

/// Formats a timestamp as an ISO 8601 time in UTC.
#[cfg(feature = "kafka")]
fn time(timestamp_ms: i64) -> String {
    use std::time::{Duration, UNIX_EPOCH};

    let since = u64::try_from(timestamp_ms).ok().map(Duration::from_millis);
    let time = since.and_then(|since| UNIX_EPOCH.checked_add(since));
    // Timestamps before 1970 or after the year 9999 are printed as numbers.
    match time.filter(|_| timestamp_ms < 253_402_300_800_000) {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => timestamp_ms.to_string(),
    }
}

#[cfg(all(test, feature = "kafka"))]
mod tests {
    use super::*;

    #[test]
    fn a_selection_without_a_match_differs_from_an_empty_queue() {
        let filter = Filter { stage: Some("process"), error: Some("down"), ..Filter::default() };
        let others = BTreeMap::from([("decode".to_owned(), 39), ("write".to_owned(), 1)]);
        let letters = Letters { topic: "q".to_owned(), others: others.clone(), ..Letters::default() };
        assert_eq!(
            letters.text(&filter),
            "0 dead letters in q match --stage process and --error 'down'; it has 40, by stage: decode 39, write 1\n"
        );
        let empty = Letters { topic: "q".to_owned(), ..Letters::default() };
        assert_eq!(empty.text(&filter), "0 dead letters in q\n");
        let some = Letters { selected: 2, ..letters };
        assert!(
            some.text(&filter).starts_with("2 dead letters in q with --stage process and"),
            "{}",
            some.text(&filter)
        );
        let all = Letters { others: BTreeMap::new(), ..some };
        assert_eq!(all.text(&Filter::default()), "2 dead letters in q\n");
    }

    #[test]
    fn a_long_error_is_shortened() {
        assert_eq!(brief("no JSON"), "no JSON");
        assert_eq!(brief("a\nb"), "a…");
        assert_eq!(brief(&"é".repeat(500)).chars().count(), 161);
    }

    #[test]
    fn times_are_iso_8601_within_its_range() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!((time(-5), time(i64::MAX)), ("-5".to_owned(), i64::MAX.to_string()));
    }
}
