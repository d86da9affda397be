//! The topic that a benchmark reads, and where its figures go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use serde_json::json;
use velo_engine::kafka::{ClientSettings, NewRecord, RecordProducer, TopicReader, ensure_topic};
use velo_engine::waker::Waker;

use crate::subject::Cost;

/// What is in the topic.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub records: u64,
    /// The bytes of a value. Keys have 8.
    pub bytes: usize,
    /// The compression of record batches.
    pub codec: Option<String>,
    pub partitions: u64,
    /// One of so many values is no JSON.
    pub spoilt_every: Option<u64>,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { records, bytes, codec, partitions, .. } = self;
        write!(f, "{partitions} partitions, {records} records of {bytes} B")?;
        codec.iter().try_for_each(|codec| write!(f, ", {codec}"))
    }
}

impl Load {
    /// Reads the loads to measure from the environment: one for each number of partitions.
    pub(crate) fn from_environment(records: u64, partitions: &str) -> Vec<Self> {
        let partitions = text("VELO_BENCH_PARTITIONS").unwrap_or_else(|| partitions.to_owned());
        let load = |partitions: &str| Self {
            records: number("VELO_BENCH_RECORDS", records),
            bytes: number("VELO_BENCH_BYTES", 200),
            codec: text("VELO_BENCH_CODEC"),
            partitions: partitions.parse().expect("VELO_BENCH_PARTITIONS is a list of numbers"),
            spoilt_every: None,
        };
        partitions.split(',').map(load).collect()
    }

    /// Creates the topic and fills it, with JSON objects as values. Returns its name.
    pub(crate) fn fill(&self, settings: &ClientSettings) -> String {
        let topic = format!("load{}_{}", self.partitions, self.spoilt_every.unwrap_or(0));
        let reader = TopicReader::connect(settings, 0, Waker::default()).expect("a reader");
        let count = usize::try_from(self.partitions).expect("a count");
        ensure_topic(settings, &reader, &topic, count, &[]).expect("a topic");
        let codec = self.codec.iter().map(|codec| ("compression.type".to_owned(), codec.clone()));
        let settings =
            ClientSettings::new(settings.bootstrap_servers().to_owned(), codec.collect()).expect("a codec");
        let producer = RecordProducer::connect(&settings, Duration::from_millis(20)).expect("a producer");
        for index in 0..self.records {
            let key = index.to_be_bytes();
            let is_spoilt = self.spoilt_every.is_some_and(|every| index.is_multiple_of(every));
            let start = if is_spoilt { "" } else { "{" };
            let mut value = format!("{start}\"index\":{index},\"text\":\"").into_bytes();
            // Text that compresses about as well as most.
            let mut state = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            while value.len() + 2 < self.bytes {
                value.push(b'a' + u8::try_from(state % 23).expect("small"));
                state = state.rotate_left(7).wrapping_add(index);
            }
            value.extend_from_slice(b"\"}");
            value.resize(self.bytes, b' ');
            let partition = i32::try_from(index % self.partitions).expect("small");
            let record = NewRecord {
                partition: Some(partition),
                key: Some(&key),
                value: Some(&value),
                ..NewRecord::default()
            };
            producer.send(&topic, record).expect("sent");
        }
        producer.flush().expect("flushed");
        topic
    }
}

/// Adds the figures of all rounds to the file that `VELO_BENCH_JSON` names, as a line of JSON.
pub(crate) fn keep(bench: &str, load: &Load, costs: &BTreeMap<&str, Vec<Cost>>) {
    let Some(path) = text("VELO_BENCH_JSON") else { return };
    let line = json!({ "bench": bench, "load": load.to_string(), "costs": costs });
    let mut file = File::options().create(true).append(true).open(path).expect("VELO_BENCH_JSON");
    writeln!(file, "{line}").expect("written");
}

/// Returns the text of an environment variable.
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Returns the number in an environment variable.
fn number<N: std::str::FromStr>(name: &str, default: N) -> N {
    text(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}
