//! Writes and reads the headers of dead letters: a row and its error in, headers out; a dead letter in, its source
//! record and error out. Header names are those of Kafka Connect if it defines one.

use crate::batch::{Batch, Headers};
use crate::ids::LaneName;
#[cfg(feature = "kafka")]
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
#[cfg(feature = "kafka")]
const ERROR_BYTES: usize = 1024;
/// The end of a truncated error text.
#[cfg(feature = "kafka")]
const CUT: &str = "… [cut]";
/// The maximum number of bytes that velo adds to a record, including header names and the overhead of Kafka. A dead
/// letter queue that velo creates has a record limit that is larger than that of its source by this number.
pub const ADDED_BYTES: u64 = 4096;
/// The number of times that the additions to a dead letter can be reduced: first the record's timestamp and the
/// optional headers are left out, then all added headers.
#[cfg(feature = "kafka")]
pub(crate) const MOST_REDUCED: u8 = 2;

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
#[cfg(feature = "kafka")]
pub(crate) fn headers(rejected: &Rejected<'_>, group: &str) -> Vec<(&'static str, String)> {
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
#[cfg(feature = "kafka")]
fn cut(message: &str) -> String {
    if message.len() <= ERROR_BYTES {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(ERROR_BYTES - CUT.len());
    format!("{}{CUT}", &message[..end])
}

/// Returns true if a rejected dead letter is sent again with this header. Reduction 0 keeps all headers, reduction 1 those
/// that a replay needs, and reduction 2 only the record's own headers.
#[cfg(feature = "kafka")]
pub(crate) fn keeps(reduction: u8, name: &str) -> bool {
    match reduction {
        0 => true,
        1 => ![MESSAGE, GROUP, ATTEMPTS].contains(&name),
        _ => !name.starts_with(CONNECT) && !OURS.contains(&name),
    }
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

#[cfg(all(test, feature = "kafka"))]
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
        let all = [TOPIC, PARTITION, OFFSET, STAGE, MESSAGE, TIMESTAMP, GROUP, ATTEMPTS, "own"];
        let kept = |reduction| all.into_iter().filter(|name| keeps(reduction, name)).collect::<Vec<_>>();
        assert_eq!(kept(0), all);
        assert_eq!(kept(1), [TOPIC, PARTITION, OFFSET, STAGE, TIMESTAMP, "own"]);
        assert_eq!(kept(MOST_REDUCED), ["own"]);
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
