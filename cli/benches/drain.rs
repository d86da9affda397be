//! How fast does `velo run --dry-run --until-end` drain a prefilled topic, in both tiers, beside a
//! bare loop over the same client? One run, one broker, alternating rounds; prints the ratios.
//!
//! `cargo bench -p velo-cli --bench drain`; `VELO_BENCH_RECORDS` changes the number of records.
#![allow(clippy::disallowed_methods, reason = "a benchmark")]

mod broker;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

// For its allocator: the bare loop and the programs shall have the same one.
use velo_cli as _;
use velo_engine::kafka::{ClientSettings, NewRecord, RecordProducer, TopicReader, baseline, ensure_topic};
use velo_engine::waker::Waker;

use broker::Broker;

const ROUNDS: usize = 5;
const BATCH: usize = 500;
const VALUE_BYTES: usize = 200;
const PREFETCH_BYTES: u64 = 64 << 20;

fn main() {
    // cargo test --benches runs this, too, and wants no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let records: u64 =
        std::env::var("VELO_BENCH_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_000);
    let broker = Broker::start();
    for partitions in [1, 4] {
        measure(&broker.settings, partitions, records);
    }
}

fn measure(settings: &ClientSettings, partitions: i32, records: u64) {
    let topic = format!("drain{partitions}");
    fill(settings, &topic, partitions, records);
    let folder = tempfile::TempDir::new().expect("a folder");
    let job = |name: &str, clause: &str| {
        let sql = format!("CREATE STREAM out AS SELECT * FROM {topic} WITH ({clause});");
        let path = folder.path().join(name);
        std::fs::write(&path, sql).expect("written");
        path
    };
    let buffered = job("buffered.sql", "'batch.strategy' = 'fixed_size', 'batch.size' = '500'");
    let standard = job("standard.sql", "'batch.strategy' = 'fixed_size', 'batch.size' = '100'");
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut properties = [serde_json::Value::Null, serde_json::Value::Null];
    for _ in 0..ROUNDS {
        let waker = Waker::default();
        let reader = TopicReader::connect(settings, PREFETCH_BYTES, waker.clone()).expect("a reader");
        properties[0] = serde_json::to_value(reader.properties()).expect("json");
        let drained = yardstick::drain(reader, &topic, BATCH, &waker).expect("drained");
        assert_eq!(drained.records, records);
        rates.entry("bare").or_default().push(records as f64 / drained.elapsed.as_secs_f64());
        for (tier, path) in [("Buffered", &buffered), ("Standard", &standard)] {
            let report = velo(path, settings.bootstrap_servers());
            assert_eq!(report["ledger"]["ok"], records);
            rates.entry(tier).or_default().push(report["records_per_s"].as_f64().expect("a rate"));
            properties[1] = report["properties"].clone();
        }
    }
    let median = |name: &str| {
        let mut rates = rates[name].clone();
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    };
    println!("{partitions} partitions, {records} records of {VALUE_BYTES} B, median of {ROUNDS} rounds:");
    for name in ["bare", "Buffered", "Standard"] {
        let rate = median(name);
        println!("  {name:8} {:.2} M records/s, {:.2} of the bare loop", rate / 1e6, rate / median("bare"));
    }
    let differing = |which: usize| {
        let own = |key: &&String| properties[1 - which][key.as_str()] != properties[which][key.as_str()];
        let all = properties[which].as_object().expect("properties");
        all.keys().filter(own).map(|key| format!("{key}={}", properties[which][key])).collect::<Vec<_>>()
    };
    println!("  properties of the bare loop: {}", properties[0]);
    println!("  properties of velo run where they differ: {:?} from {:?}", differing(1), differing(0));
}

fn velo(sql: &Path, address: &str) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_velo"))
        .arg("run")
        .arg(sql)
        .args(["--bootstrap-servers", address, "--dry-run", "--until-end", "--report", "-"])
        .output()
        .expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a report")
}

fn fill(settings: &ClientSettings, topic: &str, partitions: i32, records: u64) {
    let reader = TopicReader::connect(settings, 0, Waker::default()).expect("a reader");
    let count = usize::try_from(partitions).expect("a count");
    ensure_topic(settings, &reader, topic, count, &[]).expect("a topic");
    let producer = RecordProducer::connect(settings, Duration::from_millis(20)).expect("a producer");
    let value = [b'v'; VALUE_BYTES];
    for index in 0..records {
        let key = index.to_be_bytes();
        let partition = i32::try_from(index % count as u64).expect("small");
        let record = NewRecord {
            partition: Some(partition),
            key: Some(&key),
            value: Some(&value),
            ..NewRecord::default()
        };
        producer.send(topic, record).expect("sent");
    }
    producer.flush().expect("flushed");
}
