//! Compares the simulation with a model of sealing that is a fold over the list of arrivals.

use super::{Bounds as Limits, *};
use proptest::prelude::*;
use velo_schema::keys::Key;
use velo_schema::{Config, Entry, Scope, Settings, Side};

fn config(settings: &[(Key, &str)]) -> Config {
    let entries: Vec<_> =
        settings.iter().map(|(key, text)| Entry::parse(Scope::Job, *key, text).expect("a value")).collect();
    Settings::resolve(&entries, Side::Job, None).config()
}

fn arrival(at_ms: u64, offset: usize, bytes: u64) -> Arrival {
    Arrival {
        at: Duration::from_millis(at_ms),
        bytes,
        offset: i64::try_from(offset).unwrap(),
        ..Arrival::default()
    }
}

/// The seal limits of a batch, for the model.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    records: u64,
    bytes: u64,
    wait: Duration,
    eager: bool,
}

/// Returns the expected batches if no batch waits for a worker: a fold over the list of arrivals.
fn model(arrivals: &[Arrival], bounds: Bounds) -> Vec<Sealed> {
    let mut sealed = Vec::new();
    let mut open: Option<Sealed> = None;
    let seal = |open: &mut Option<Sealed>, at, reason, sealed: &mut Vec<Sealed>| {
        sealed.extend(open.take().map(|batch| Sealed { at, reason, ..batch }));
    };
    for (index, arrival) in arrivals.iter().enumerate() {
        if let Some(Sealed { first, .. }) = open
            && arrival.at > first + bounds.wait
        {
            seal(&mut open, first + bounds.wait, SealReason::Time, &mut sealed);
        }
        if open.is_some_and(|batch| batch.bytes + arrival.bytes > bounds.bytes) {
            seal(&mut open, arrival.at, SealReason::Bytes, &mut sealed);
        }
        let batch = open.get_or_insert(Sealed {
            at: arrival.at,
            first: arrival.at,
            records: 0,
            bytes: 0,
            reason: SealReason::Drain,
        });
        batch.records += 1;
        batch.bytes += arrival.bytes;
        let batch = *batch;
        let is_last_now = arrivals.get(index + 1).is_none_or(|next| next.at > arrival.at);
        let reason = if batch.records == bounds.records {
            Some(SealReason::Count)
        } else if batch.bytes >= bounds.bytes {
            Some(SealReason::Bytes)
        } else if is_last_now && arrival.at == batch.first + bounds.wait {
            Some(SealReason::Time)
        } else {
            (bounds.eager && is_last_now).then_some(SealReason::Eager)
        };
        if let Some(reason) = reason {
            seal(&mut open, arrival.at, reason, &mut sealed);
        }
    }
    let end = arrivals.last().map_or(Duration::ZERO, |last| last.at);
    seal(&mut open, end, SealReason::Drain, &mut sealed);
    sealed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Sizes, bytes, times and reasons of all batches equal those of the model, to the nanosecond. No record is
    /// missing, duplicated or out of order.
    #[test]
    fn batches_are_those_of_a_fold_over_the_arrivals(
        gaps in prop::collection::vec((prop_oneof![3 => Just(0_u64), 3 => 1_u64..4, 1 => 10_u64..40], 0_u64..60), 1..120),
        strategy in 0_usize..5,
        records in 1_u64..12,
        bytes in 1_u64..150,
        wait_ms in 1_u64..25,
        cap in prop_oneof![1_u64..12, Just(100_000)],
        eager in any::<bool>(),
    ) {
        let mut at = 0;
        let arrivals: Vec<_> = gaps.iter().enumerate().map(|(offset, (gap, bytes))| {
            at += gap;
            arrival(at, offset, *bytes)
        }).collect();
        let [size, memory, wait, most] = [records.to_string(), bytes.to_string(), format!("{wait_ms}ms"), cap.to_string()];
        let wait_of = |key| (key, wait.as_str());
        let (settings, bounds_records, bounds_bytes, eager) = match strategy {
            0 => (vec![(Key::BatchStrategy, "fixed_size"), (Key::BatchSize, &*size), wait_of(Key::BatchTimeout)], records.min(cap), u64::MAX, false),
            1 => (vec![(Key::BatchStrategy, "time_window"), wait_of(Key::BatchWindow)], cap, u64::MAX, false),
            2 => (vec![(Key::BatchStrategy, "memory_based"), (Key::BatchMemorySize, &*memory), wait_of(Key::BatchTimeout)], cap, bytes, false),
            3 => (vec![(Key::BatchStrategy, "low_latency"), (Key::BatchLowLatencyMaxSize, &*size), wait_of(Key::BatchLowLatencyWait), (Key::BatchEagerProcessing, if eager { "true" } else { "false" })], records.min(cap), u64::MAX, eager),
            _ => (vec![(Key::BatchStrategy, "mega_batch"), (Key::BatchMegaBatchSize, "10000"), wait_of(Key::BatchTimeout)], cap.min(10_000), u64::MAX, false),
        };
        let config = config(&[settings, vec![(Key::BatchMaxSize, &*most)]].concat());
        let mut served = Vec::new();
        let run = simulate(&config.into(), arrivals.clone(), |rows, _| {
            served.extend(rows.iter().map(|row| row.offset));
            Duration::ZERO.into()
        });
        let bounds = Bounds { records: bounds_records, bytes: bounds_bytes, wait: Duration::from_millis(wait_ms), eager };
        // If a record does not fit at the exact time of the deadline, both reasons are valid.
        let either = |batch: Sealed| match batch.reason {
            SealReason::Bytes if batch.at == batch.first + bounds.wait => Sealed { reason: SealReason::Time, ..batch },
            _ => batch,
        };
        let sealed: Vec<_> = run.sealed.into_iter().map(either).collect();
        let expected: Vec<_> = model(&arrivals, bounds).into_iter().map(either).collect();
        prop_assert_eq!(sealed, expected);
        prop_assert!(served.iter().copied().eq(0..i64::try_from(arrivals.len()).unwrap()));
        prop_assert_eq!(run.report.ledger.ok, arrivals.len() as u64);
    }
}

#[test]
fn a_job_that_cannot_keep_up_has_full_batches_and_growing_latencies() {
    let arrivals = (0..1000).map(|n| arrival(n, usize::try_from(n).unwrap(), 1));
    let config = config(&[(Key::BatchSize, "10")]);
    let run = simulate(&config.into(), arrivals, |_, _| Duration::from_millis(20).into());
    assert_eq!((run.report.batches.count, run.report.batches.size_max), (100, 10));
    // Each batch arrives 10 ms after the previous one and takes 20 ms.
    assert!((run.report.latency_ms.max - 1010.0).abs() < 20.0, "{:?}", run.report.latency_ms);
    assert!((run.report.seconds - 2.01).abs() < 0.02, "{}", run.report.seconds);
}

/// Returns arrivals at a rate: 70 % of 100 B, 25 % of 2 kB, 5 % of 20 kB to 200 kB.
fn mixed(count: u64, per_s: u64) -> Vec<Arrival> {
    let mut random = fastrand::Rng::with_seed(7);
    let size = |random: &mut fastrand::Rng| match random.u8(..100) {
        0..70 => 100,
        70..95 => 2000,
        _ => random.u64(20_000..200_000),
    };
    let at = |n: u64| Duration::from_nanos(n * 1_000_000_000 / per_s);
    (0..count)
        .map(|n| Arrival {
            at: at(n),
            bytes: size(&mut random),
            offset: n.cast_signed(),
            ..Arrival::default()
        })
        .collect()
}

/// Returns the number of instants of a run, at most `most`, and its result.
fn instants(config: &JobConfig, arrivals: &[Arrival], most: u64, took: Duration) -> (u64, Simulation) {
    let mut asked = 0;
    let goes_on = &mut || {
        asked += 1;
        if asked < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let run = simulate_within(config, arrivals.iter().copied(), Limits::NONE, goes_on, |_, _| took.into());
    (asked, run)
}

#[test]
fn records_larger_than_a_batch_cost_no_more_steps_than_others() {
    const COUNT: u64 = 1500;
    let arrivals = mixed(COUNT, 150);
    for (bytes, timeout, took_ms) in [
        ("65536", "10ms", 1),
        ("65536", "50ms", 30),
        ("65536", "200ms", 300),
        ("262144", "1s", 3000),
        ("1000", "1s", 30),
    ] {
        let settings = [
            (Key::BatchStrategy, "memory_based"),
            (Key::BatchMemorySize, bytes),
            (Key::BatchTimeout, timeout),
        ];
        let job = JobConfig::uniform(config(&settings));
        let (asked, run) = instants(&job, &arrivals, 20 * COUNT, Duration::from_millis(took_ms));
        assert_eq!(
            (run.cut, run.report.ledger.ok),
            (None, COUNT),
            "{bytes} {timeout} after {asked} instants"
        );
        assert!(asked <= 5 * COUNT, "{bytes} {timeout}: {asked} instants for {COUNT} records");
    }
}

#[test]
fn a_large_record_goes_into_the_next_batch_while_another_is_processed() {
    let settings =
        [(Key::BatchStrategy, "memory_based"), (Key::BatchMemorySize, "1000"), (Key::BatchTimeout, "1s")];
    let job = JobConfig::uniform(config(&settings));
    let arrivals = [arrival(0, 0, 5000), arrival(1, 1, 5000)];
    let run = simulate(&job, arrivals, |_, _| Duration::from_millis(50).into());
    let sealed: Vec<_> = run.sealed.iter().map(|batch| batch.at.as_millis()).collect();
    assert_eq!(sealed, [0, 1]);
    // With a limit on bytes in flight, the second record waits until the first one is settled.
    let tight = JobConfig { max_unsettled_bytes: 8000, ..job };
    let run = simulate(&tight, arrivals, |_, _| Duration::from_millis(50).into());
    let sealed: Vec<_> = run.sealed.iter().map(|batch| batch.at.as_millis()).collect();
    assert_eq!((sealed, run.report.ledger.ok), (vec![0, 50], 2));
}

#[test]
fn a_run_ends_at_its_bounds() {
    let arrivals = mixed(1000, 1000);
    let job = JobConfig::uniform(config(&[(Key::BatchSize, "10")]));
    let run = |bounds, most: u64| {
        let mut asked = 0;
        let goes_on = &mut || {
            asked += 1;
            if asked < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        simulate_within(&job, arrivals.iter().copied(), bounds, goes_on, |_, _| {
            Duration::from_millis(100).into()
        })
    };
    let behind = run(Limits { waiting: 300, ..Limits::NONE }, u64::MAX);
    assert_eq!(behind.cut, Some(Cut::Waiting));
    // 100 records arrive while one batch is processed.
    assert!((301..=400).contains(&behind.waiting), "{}", behind.waiting);
    let late = run(Limits { until: Duration::from_secs(2), ..Limits::NONE }, u64::MAX);
    assert_eq!(late.cut, Some(Cut::Time));
    assert!(late.report.ledger.ok > 100 && late.report.ledger.ok < 300, "{:?}", late.report.ledger);
    assert_eq!(run(Limits::NONE, 50).cut, Some(Cut::Asked));
    assert_eq!(run(Limits::NONE, u64::MAX).cut, None);
}

#[test]
fn retries_take_their_time_and_hold_what_comes_behind() {
    let settings = [
        (Key::BatchSize, "5"),
        (Key::FailureStrategy, "RetryWithBackoff"),
        (Key::MaxRetries, "5"),
        (Key::RetryBackoff, "2000ms"),
        (Key::OnExhausted, "SendToDLQ"),
    ];
    let mut attempts = Vec::new();
    let run = simulate(&config(&settings).into(), (0..10).map(|n| arrival(0, n, 1)), |rows, attempt| {
        attempts.push((rows[0].offset, attempt));
        let bad = rows.iter().position(|row| row.offset == 3).map(|row| RowError {
            row: u32::try_from(row).unwrap(),
            stage: Stage::Process,
            message: "three".to_owned(),
            retriable: true,
        });
        Served { bad: bad.into_iter().collect(), ..Served::default() }
    });
    let expected: Vec<_> = (0..=5).map(|attempt| (0, attempt)).chain([(5, 0)]).collect();
    assert_eq!(attempts, expected);
    assert_eq!((run.report.ledger.ok, run.report.ledger.dlq), (9, 1));
    // 2 + 4 + 8 + 16 + 32 seconds, each shortened by up to 25 %.
    assert!((46.5..62.0).contains(&run.report.seconds), "{}", run.report.seconds);
}

#[test]
fn what_is_written_can_be_grouped_in_virtual_time_too() {
    let sizes = |size| config(&[(Key::BatchSize, size)]);
    let job = JobConfig { sink: sizes("50"), ..JobConfig::uniform(sizes("20")) };
    let run = simulate(&job, (0..200).map(|n| arrival(0, n, 1)), |_, _| Duration::ZERO.into());
    let groups = run.report.sink_batches.unwrap();
    assert_eq!((groups.count, groups.size_max, run.report.batches.count), (4, 50, 10));
}

/// Returns the service time of a batch of n records in milliseconds.
type Service = fn(f64) -> f64;

/// Returns arrivals at these rates (records per second) for these times (seconds), one after the other.
fn rates(rates: &[(u64, f64)]) -> Vec<Arrival> {
    let (mut at, mut arrivals) = (0.0, Vec::new());
    for (rate, seconds) in rates {
        let end = at + seconds;
        while at < end {
            arrivals.push(Arrival {
                at: Duration::from_secs_f64(at),
                bytes: 100,
                offset: i64::try_from(arrivals.len()).unwrap(),
                ..Arrival::default()
            });
            at += 1.0 / *rate as f64;
        }
    }
    arrivals
}

#[test]
fn the_adaptive_size_follows_arrivals_that_step_tenfold() {
    let settings = [
        (Key::BatchStrategy, "adaptive_size"),
        (Key::BatchMinSize, "10"),
        (Key::BatchAdaptiveMaxSize, "5000"),
        (Key::BatchTargetLatency, "100ms"),
    ];
    // The lower rate is far below the capacity, the higher rate near it.
    let services: [(&str, Service, u64); 3] = [
        ("affine", |n| 2.0 + 0.1 * n, 700),
        ("fixed cost", |n| 60.0 + 0.02 * n, 1000),
        ("superlinear", |n| 5.0 + 0.02 * n + 0.0001 * n * n, 700),
    ];
    for (name, service, low) in services {
        for seed in 0..5 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut took, mut over) = (0_u32, 0_u32);
            let arrivals = rates(&[(low, 5.0), (10 * low, 5.0), (low, 5.0)]);
            let count = arrivals.len() as u64;
            let run = simulate(&config(&settings).into(), arrivals, |rows, _| {
                let noise = 1.0 + 0.1 * (2.0 * random.f64() - 1.0);
                let stall = if random.f64() < 0.01 { 300.0 } else { 0.0 };
                let ms = service(rows.len() as f64) * noise;
                took += 1;
                over += u32::from(ms > 100.0);
                Duration::from_secs_f64((ms + stall) / 1e3).into()
            });
            let share = f64::from(over) / f64::from(took);
            println!(
                "{name}: {took} batches, {:.1} % over target, p99 {:.0} ms",
                100.0 * share,
                run.report.latency_ms.p99
            );
            assert!(share <= 0.08, "{name}: {share:.3} over target");
            assert_eq!(run.report.ledger.ok, count);
            assert_eq!(run.report.tier.actual, Tier::Buffered, "{name}");
            // The job keeps up: the last records are settled within a few batches.
            assert!(run.report.seconds < 16.5, "{name}: {} s", run.report.seconds);
        }
    }
}
