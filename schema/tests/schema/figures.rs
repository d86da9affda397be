//! Numbers and words at their bounds: the guide's conditions, sizes, plans, names.

use std::time::Duration;

use velo_schema::guide::{Met, UseCase, Workload, choose_when};
use velo_schema::keys::Key;
use velo_schema::value::{Kind, Value, ValueError, parse};
use velo_schema::{Config, Entry, Plan, Scope, Settings, Side, Span, StrategyKind, Tier, format_bytes};

/// Which conditions of a strategy are met, in their order.
fn met(strategy: StrategyKind, workload: Workload) -> Vec<Met> {
    choose_when(&workload).into_iter().filter(|c| c.strategy == strategy).map(|c| c.met).collect()
}

#[test]
fn the_guides_conditions_hold_on_their_own_side_of_their_bounds() {
    use Met::{Met as Yes, NotMet as No, Unknown};
    use StrategyKind::{AdaptiveSize, FixedSize, LowLatency, MegaBatch, MemoryBased};
    let rate = |rate: f64| Workload { records_per_s: Some(rate), ..Workload::default() };
    assert_eq!(met(LowLatency, rate(9_999.0)), [Yes, Unknown]);
    assert_eq!(met(LowLatency, rate(10_000.0)), [No, Unknown]);
    assert_eq!(met(MegaBatch, rate(100_000.0)), [No, Unknown]);
    assert_eq!(met(MegaBatch, rate(100_001.0)), [Yes, Unknown]);
    let latency = |ms: f64| Workload { latency_ms: Some(ms), ..Workload::default() };
    assert_eq!((met(LowLatency, latency(999.0))[1], met(MegaBatch, latency(999.0))[1]), (Yes, No));
    assert_eq!((met(LowLatency, latency(1000.0))[1], met(MegaBatch, latency(1000.0))[1]), (No, Yes));
    let sizes = |mean: f64, variation: f64| Workload {
        mean_record_bytes: Some(mean),
        record_bytes_variation: Some(variation),
        ..Workload::default()
    };
    assert_eq!(met(MemoryBased, sizes(10_240.0, 1.0)), [No, No]);
    assert_eq!(met(MemoryBased, sizes(10_241.0, 1.01)), [Yes, Yes]);
    let bursts = |peak: f64, dispersion: f64| Workload {
        records_per_s: Some(100.0),
        peak_records_per_s: Some(peak),
        dispersion: Some(dispersion),
        ..Workload::default()
    };
    assert_eq!(met(AdaptiveSize, bursts(300.0, 2.0)), [No, No]);
    assert_eq!(met(AdaptiveSize, bursts(301.0, 2.01)), [Yes, Yes]);
    // Predictable: nothing that disturbs is met, and all of it is known.
    let calm = Workload { dispersion: Some(1.0), ..bursts(200.0, 1.0) };
    assert_eq!(met(FixedSize, calm), [Unknown]);
    let calm = Workload { mean_record_bytes: Some(100.0), record_bytes_variation: Some(0.1), ..calm };
    assert_eq!(met(FixedSize, calm), [Yes]);
    assert_eq!(met(FixedSize, Workload { dispersion: Some(3.0), ..calm }), [No]);
}

#[test]
fn sizes_print_in_the_unit_that_suits_them() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1024, "1023 KiB"),
        (1 << 20, "1 MiB"),
        (5 << 19, "2.5 MiB"),
        (1 << 30, "1 GiB"),
        (3 << 29, "1.5 GiB"),
    ] {
        assert_eq!(format_bytes(bytes), text);
    }
}

#[test]
fn every_unit_of_a_size_has_its_two_readings() {
    let bytes = Kind::Integer { min: 1, max: u64::MAX, unit: "bytes" };
    for (text, power) in
        [("2B", 0), ("2 bytes", 0), ("2k", 1), ("2KiB", 1), ("2MB", 2), ("2g", 3), ("2GiB", 3), ("2TB", 4)]
    {
        let readings =
            ValueError::SizeWithUnit { decimal: 2 * 1000_u64.pow(power), binary: 2 * 1024_u64.pow(power) };
        assert_eq!(parse(bytes, text), Err(readings), "{text}");
    }
}

#[test]
fn durations_at_their_bounds() {
    let wait = Kind::Duration { min: Duration::ZERO };
    let window = Key::BatchWindow.def().kind;
    assert_eq!(parse(wait, "0s").unwrap().value, Value::Duration(Duration::ZERO));
    let range = |kind, text| match parse(kind, text) {
        Err(ValueError::OutOfRange { min, max }) => (min, max),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(range(window, "0s"), ("more than 0ms".into(), "365d".into()));
    assert_eq!(range(wait, "-1s"), ("0ms".into(), "365d".into()));
    assert_eq!(range(wait, "366d").0, "0ms");
    assert_eq!(parse(wait, "365d").unwrap().value, Value::Duration(Duration::from_hours(365 * 24)));
    // What is no number at all is no number without a unit.
    for text in ["1.2.3", "1."] {
        assert_eq!(parse(wait, text), Err(ValueError::InvalidDuration), "{text}");
    }
    assert!(matches!(parse(wait, "1.5"), Err(ValueError::DurationWithoutUnit { .. })));
}

#[test]
fn a_word_is_suggested_up_to_a_third_of_its_letters() {
    let nearest = |text: &str| match parse(Kind::Strategy, text) {
        Err(ValueError::UnknownWord { nearest, .. }) => nearest,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (nearest("fixed_siz"), nearest("fixd_sz"), nearest("fxd_sz")),
        (Some("fixed_size"), Some("fixed_size"), None)
    );
}

fn settings(entries: &[(Scope, Key, &str)]) -> Settings {
    let entries: Vec<_> =
        entries.iter().map(|(scope, key, text)| Entry::parse(scope.clone(), *key, text).unwrap()).collect();
    Settings::resolve(&entries, Side::Job, None)
}

fn config(entries: &[(Key, &str)]) -> Config {
    let entries: Vec<_> = entries.iter().map(|(key, text)| (Scope::Job, *key, *text)).collect();
    settings(&entries).config()
}

#[test]
fn dead_letters_are_used_by_two_ways_to_fail() {
    let uses = |entries: &[(Key, &str)]| config(entries).failure.uses_dlq();
    let retries = (Key::FailureStrategy, "RetryWithBackoff");
    assert!(uses(&[(Key::FailureStrategy, "SendToDLQ")]));
    assert!(uses(&[retries, (Key::OnExhausted, "SendToDLQ")]));
    assert!(!uses(&[retries]) && !uses(&[]) && !uses(&[(Key::OnExhausted, "SendToDLQ")]));
    let topic = config(&[(Key::DlqTopic, "a.dlq")]).dlq_topic;
    assert_eq!(topic.as_deref(), Some("a.dlq"));
}

#[test]
fn plans_of_what_has_no_fixed_size() {
    let window = Plan::of(&config(&[(Key::BatchStrategy, "time_window")]), None);
    assert_eq!(
        (window.batch_records, window.max_poll_records),
        (Span { min: 1, max: 100_000 }, Span { min: 100_000, max: 100_000 })
    );
    let adaptive = Plan::of(&config(&[(Key::BatchStrategy, "adaptive_size")]), None);
    assert_eq!((adaptive.batch_records, adaptive.tier), (Span { min: 10, max: 1000 }, Tier::Auto));
    let memory = |record| {
        Plan::of(&config(&[(Key::BatchStrategy, "memory_based"), (Key::BatchMemorySize, "1000000")]), record)
    };
    assert_eq!((memory(None).tier, memory(None).batch_records.min), (Tier::Buffered, 1));
    assert_eq!(
        (memory(Some(1000)).batch_records, memory(Some(1000)).tier),
        (Span { min: 1000, max: 1000 }, Tier::Buffered)
    );
    assert_eq!(memory(Some(300)).batch_records.max, 3333);
    assert_eq!((memory(Some(20_000)).batch_records.max, memory(Some(20_000)).tier), (50, Tier::Standard));
}

#[test]
fn names_are_what_people_write() {
    assert_eq!(Scope::Job.qualify(Key::BatchSize), "batch.size");
    assert_eq!(Scope::Source.qualify(Key::BatchSize), "source.batch.size");
    assert_eq!(Scope::Named("orders".into()).qualify(Key::MaxRetries), "orders.max_retries");
    assert_eq!(
        (Span { min: 5, max: 5 }.to_string(), Span { min: 5, max: 6 }.to_string()),
        ("5".into(), "5-6".into())
    );
    assert!(Span { min: 1, max: 10 }.contains(Span { min: 1, max: 10 }));
    assert!(!Span { min: 1, max: 10 }.contains(Span { min: 0, max: 10 }));
    assert!(!Span { min: 1, max: 10 }.contains(Span { min: 1, max: 11 }));
    assert_eq!(
        [Tier::Standard, Tier::Buffered, Tier::Auto].map(|tier| tier.to_string()),
        ["Standard", "Buffered", "Auto"]
    );
    for row in velo_schema::guide::MATRIX {
        assert_eq!(serde_json::to_value(row.use_case).unwrap(), row.use_case.word());
    }
    assert_eq!(UseCase::StreamingEtl.word(), "streaming_etl");
    assert_eq!(Key::BatchEnable.def().kind.words(), ["true", "false"]);
    assert_eq!(Key::BatchMemorySize.def().kind.unit(), "bytes");
    assert_eq!(
        (Key::DlqTopic.def().kind.name(), Key::BatchWindow.def().kind.name()),
        ("topic name", "duration")
    );
}

#[test]
fn every_strategy_of_a_size_has_sizes_to_try() {
    for strategy in [StrategyKind::FixedSize, StrategyKind::LowLatency, StrategyKind::MegaBatch] {
        let key = strategy.size_key().expect("it has a size");
        assert!(key.def().search.len() >= 3, "{key}");
    }
    assert_eq!(StrategyKind::AdaptiveSize.size_key(), Some(Key::BatchAdaptiveMaxSize));
    assert_eq!(StrategyKind::TimeWindow.size_key(), None);
    assert_eq!(settings(&[]).iter().count(), Key::ALL.len());
}
