//! Writes and reads the headers of dead letters: a row and its error in, headers out; a dead letter in, its source
//! record and error out. Header names are those of Kafka Connect if it defines one.

use rdkafka::message::{Header, Headers as _, OwnedHeaders};

use crate::batch::{Batch, Headers};
use crate::ids::LaneName;
use crate::sink::Rejected;

const TOPIC: &str = "__connect.errors.topic";
const PARTITION: &str = "__connect.errors.partition";
const OFFSET: &str = "__connect.errors.offset";
const STAGE: &str = "__connect.errors.stage";
const MESSAGE: &str = "__connect.errors.exception.message";
const TIMESTAMP: &str = "velo.timestamp_ms";
const GROUP: &str = "velo.group";
const ATTEMPTS: &str = "velo.attempts";
const CONNECT: &str = "__connect.errors.";
const OURS: [&str; 3] = [TIMESTAMP, GROUP, ATTEMPTS];

/// The maximum length of an error text in bytes of UTF-8. A longer text is truncated and ends with [`CUT`].
const ERROR_BYTES: usize = 1024;
/// The end of a truncated error text.
const CUT: &str = "… [cut]";
/// The maximum number of bytes that velo adds to a record, including header names and the overhead of Kafka. A dead
/// letter queue that velo creates has a record limit that is larger than that of its source by this number.
pub const ADDED_BYTES: u64 = 4096;
/// The number of times that the additions to a dead letter can be reduced: first the record's timestamp and the
/// optional headers are left out, then all added headers.
pub(super) const MOST_REDUCED: u8 = 2;

/// A dead letter: the source record and the reason of its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The topic and partition of the source record.
    pub origin: LaneName,
    /// The offset of the source record.
    pub offset: i64,
    /// The stage in which the record failed.
    pub stage: String,
    /// The error message.
    pub error: String,
    /// The consumer group of the job in which the record failed.
    pub group: Option<String>,
    /// The number of attempts to process the record.
    pub attempts: Option<u32>,
    /// The timestamp of the source record in milliseconds since the epoch, if it has one.
    pub timestamp_ms: Option<i64>,
    /// The headers of the source record.
    pub headers: Headers,
}

/// Returns the headers that are added to a row that is sent to a dead letter queue.
pub(super) fn headers(rejected: &Rejected<'_>, group: &str) -> Vec<(&'static str, String)> {
    let Rejected { ticket, batch, origin, error, attempts } = rejected;
    vec![
        (TOPIC, origin.topic.to_string()),
        (PARTITION, origin.partition.to_string()),
        (OFFSET, batch.offset(ticket.row).to_string()),
        (STAGE, error.stage.to_string()),
        (MESSAGE, cut(&error.message)),
        (TIMESTAMP, batch.timestamp_ms(ticket.row).unwrap_or(-1).to_string()),
        (GROUP, group.to_owned()),
        (ATTEMPTS, attempts.to_string()),
    ]
}

/// Truncates an error text to its maximum length.
fn cut(message: &str) -> String {
    if message.len() <= ERROR_BYTES {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(ERROR_BYTES - CUT.len());
    format!("{}{CUT}", &message[..end])
}

/// Returns the timestamp and headers to send after a dead letter queue has rejected a record. The timestamp is left
/// out. Reduction 1 keeps the added headers that a replay needs; reduction 2 keeps only the record's own headers.
pub(super) fn reduced(reduction: u8, headers: Option<&OwnedHeaders>) -> (Option<i64>, Option<OwnedHeaders>) {
    let keeps = |name: &str| match reduction {
        0 => true,
        1 => ![MESSAGE, GROUP, ATTEMPTS].contains(&name),
        _ => !name.starts_with(CONNECT) && !OURS.contains(&name),
    };
    let reduced = headers.map(|headers| {
        let kept = headers.iter().filter(|header| keeps(header.key));
        kept.fold(OwnedHeaders::new(), |all, Header { key, value }| all.insert(Header { key, value }))
    });
    (None, reduced.filter(|headers| headers.count() > 0))
}

impl DeadLetter {
    /// Reads a row of a dead letter queue. Returns `None` if its headers do not name the source record.
    #[must_use]
    pub fn read(batch: &Batch, row: u32) -> Option<Self> {
        let all = batch.headers(row);
        // A dead letter that failed again has the headers of both failures; the newer ones are last.
        let text = |wanted: &str| {
            let found = all.iter().rfind(|(name, _)| name == wanted)?;
            std::str::from_utf8(found.1.as_deref()?).ok()
        };
        let origin = LaneName { topic: text(TOPIC)?.into(), partition: text(PARTITION)?.parse().ok()? };
        let is_its_own = |name: &str| !name.starts_with(CONNECT) && !OURS.contains(&name);
        Some(Self {
            origin,
            offset: text(OFFSET)?.parse().ok()?,
            stage: text(STAGE).unwrap_or("unknown").to_owned(),
            error: text(MESSAGE).unwrap_or_default().to_owned(),
            group: text(GROUP).map(str::to_owned),
            attempts: text(ATTEMPTS).and_then(|attempts| attempts.parse().ok()),
            timestamp_ms: text(TIMESTAMP).and_then(|time| time.parse().ok()).filter(|time| *time >= 0),
            headers: all.iter().filter(|(name, _)| is_its_own(name)).cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Record};
    use crate::core::failure::{RowError, Stage};
    use crate::ids::{BatchId, LaneId, Names};
    use crate::sink::Ticket;

    #[test]
    fn a_long_error_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(ERROR_BYTES)).len(), ERROR_BYTES);
        for width in 1..5 {
            let text = format!("{}{}", "a".repeat(width), "é…🦀".repeat(500));
            let cut = cut(&text);
            assert!(cut.len() <= ERROR_BYTES && cut.len() > ERROR_BYTES - 5, "{}", cut.len());
            assert!(cut.ends_with(CUT) && text.starts_with(cut.trim_end_matches(CUT)));
        }
    }

    #[test]
    fn a_letter_that_is_refused_loses_first_what_a_replay_can_do_without() {
        let header = |all: OwnedHeaders, key| all.insert(Header { key, value: Some("v") });
        let all = [TOPIC, PARTITION, OFFSET, STAGE, MESSAGE, TIMESTAMP, GROUP, ATTEMPTS, "own"];
        let all = Some(all.into_iter().fold(OwnedHeaders::new(), header));
        let names = |reduction| {
            let (timestamp, headers) = reduced(reduction, all.as_ref());
            assert_eq!(timestamp, None, "the queue's own time");
            headers.unwrap().iter().map(|header| header.key.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(1), [TOPIC, PARTITION, OFFSET, STAGE, TIMESTAMP, "own"]);
        assert_eq!(names(2), ["own"]);
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let own: Headers = vec![("trace".to_owned(), Some(b"7".to_vec())), ("none".to_owned(), None)];
        let mut builder = BatchBuilder::default();
        let record =
            Record { offset: 41, timestamp_ms: Some(5), headers: Some(own.clone()), ..Record::default() };
        builder.push(LaneId(0), record);
        let batch = builder.seal(Names::default());
        let origin = LaneName { topic: "orders".into(), partition: 3 };
        let error = RowError { row: 0, stage: Stage::Decode, message: "no JSON".into(), retriable: false };
        let ticket = Ticket { batch: BatchId(0), row: 0, dead_letter: true };
        let rejected = Rejected { ticket, batch: &batch, origin: &origin, error: &error, attempts: 2 };
        let added = headers(&rejected, "g").into_iter();
        let all =
            own.iter().cloned().chain(added.map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
        builder.push(LaneId(0), Record { headers: Some(all.collect()), ..Record::default() });
        builder.push(LaneId(0), Record { headers: Some(own.clone()), ..Record::default() });
        let letters = builder.seal(Names::default());
        let expected = DeadLetter {
            origin,
            offset: 41,
            stage: "decode".to_owned(),
            error: "no JSON".to_owned(),
            group: Some("g".to_owned()),
            attempts: Some(2),
            timestamp_ms: Some(5),
            headers: own,
        };
        assert_eq!(DeadLetter::read(&letters, 0), Some(expected));
        assert_eq!(DeadLetter::read(&letters, 1), None);
    }
}
