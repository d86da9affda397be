//! What is in a dead letter queue, for people and for machines.

use schemars::JsonSchema;
use serde::Serialize;

/// What `velo dlq show --format json` prints. Fields are only ever added.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Letters {
    /// Of this format: 1.
    pub version: u32,
    /// The dead letter queue.
    pub topic: String,
    /// How many records were selected.
    pub selected: u64,
    /// How many records do not say which record they were.
    pub foreign: u64,
    /// How many records failed where and why; what differs in numbers only is one error.
    pub by_error: Vec<ByError>,
    /// The newest of each partition, the newest first.
    pub newest: Vec<Letter>,
}

/// Records that failed in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ByError {
    pub stage: String,
    /// The error, with # for each number.
    pub error: String,
    pub count: u64,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Letter {
    /// Its partition of the dead letter queue.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Which record it was.
    pub origin: Origin,
    pub stage: String,
    pub error: String,
    /// The group of the job that it failed in.
    pub group: Option<String>,
    /// How often it was tried.
    pub attempts: Option<u32>,
    /// The record's time, in milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    pub key_bytes: Option<u64>,
    pub value_bytes: Option<u64>,
}

/// A record's coordinates.
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
    /// The letters as tables.
    pub fn text(&self) -> String {
        let mut text = format!("{} dead letters in {}", self.selected, self.topic);
        if self.foreign > 0 {
            text += &format!(", and {} records that do not say which record they were", self.foreign);
        }
        text.push('\n');
        if !self.by_error.is_empty() {
            let mut table = super::plan::table(&["records", "stage", "error"]);
            for ByError { stage, error, count } in &self.by_error {
                table.add_row([&count.to_string(), stage, error]);
            }
            text += &format!("{table}\n");
        }
        if !self.newest.is_empty() {
            let mut table = super::plan::table(&["at", "was", "stage", "attempts", "time", "error"]);
            for letter in &self.newest {
                let attempts = letter.attempts.map(|attempts| attempts.to_string()).unwrap_or_default();
                table.add_row([
                    format!("[{}]@{}", letter.partition, letter.offset),
                    letter.origin.to_string(),
                    letter.stage.clone(),
                    attempts,
                    letter.timestamp_ms.map(time).unwrap_or_default(),
                    letter.error.clone(),
                ]);
            }
            text += &format!("{table}\n");
        }
        text
    }
}

/// A time for people, in UTC.
#[cfg(feature = "kafka")]
fn time(timestamp_ms: i64) -> String {
    use std::time::{Duration, UNIX_EPOCH};

    let since = u64::try_from(timestamp_ms).ok().map(Duration::from_millis);
    let time = since.and_then(|since| UNIX_EPOCH.checked_add(since));
    // What lies beyond the year 9999 is printed as it is.
    match time.filter(|_| timestamp_ms < 253_402_300_800_000) {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => timestamp_ms.to_string(),
    }
}

#[cfg(all(test, feature = "kafka"))]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people_as_far_as_they_can_be() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!((time(-5), time(i64::MAX)), ("-5".to_owned(), i64::MAX.to_string()));
    }
}
