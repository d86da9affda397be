//! What does it cost to know how far a partition may be committed? 10,000 records delivered and settled
//! in order, in the reverse order, and one by one in a random order.
#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use velo_engine::core::tracker::CommitTracker;

const RECORDS: u64 = 10_000;

fn settle(c: &mut Criterion) {
    let delivered = || {
        let mut tracker = CommitTracker::new(0);
        tracker.deliver(&[0..10_000]).expect("offsets that grow");
        tracker
    };
    let mut shuffled: Vec<u64> = (0..RECORDS).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut shuffled);
    let orders: [(&str, Vec<u64>); 3] = [
        ("in order", (0..RECORDS).collect()),
        ("reversed", (0..RECORDS).rev().collect()),
        ("random", shuffled),
    ];
    let mut group = c.benchmark_group("settle");
    group.throughput(Throughput::Elements(RECORDS));
    for (name, order) in &orders {
        group.bench_function(*name, |b| {
            b.iter_batched_ref(
                delivered,
                |tracker| {
                    for number in order {
                        tracker.settle(*number..number + 1);
                    }
                    assert_eq!(tracker.watermark(), 10_000);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("at once", |b| {
        b.iter_batched_ref(delivered, |tracker| tracker.settle(0..RECORDS), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, settle);
criterion_main!(benches);
