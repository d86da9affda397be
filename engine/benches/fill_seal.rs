//! What does a record cost on its way into a batch? Filling and sealing batches of 500 by size of the
//! value, beside copying the same bytes in one go: the bandwidth of memory is the limit.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use velo_engine::batch::{BatchBuilder, Record};
use velo_engine::ids::{LaneId, Names};

const ROWS: i64 = 500;

fn fill_and_seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("fill_seal");
    for bytes in [8_usize, 200, 2000] {
        let value = vec![b'x'; bytes];
        group.throughput(Throughput::Bytes(bytes as u64 * ROWS.unsigned_abs()));
        group.bench_function(BenchmarkId::new("batch", bytes), |b| {
            let mut builder = BatchBuilder::default();
            b.iter(|| {
                for offset in 0..ROWS {
                    let record = Record { offset, value: Some(black_box(&value)), ..Record::default() };
                    builder.push(LaneId(0), record);
                }
                builder.seal(Names::default())
            });
        });
        group.bench_function(BenchmarkId::new("copy", bytes), |b| {
            let source = vec![b'x'; bytes * usize::try_from(ROWS).unwrap_or(0)];
            let mut target = Vec::with_capacity(source.len());
            b.iter(|| {
                target.clear();
                target.extend_from_slice(black_box(&source));
                black_box(target.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, fill_and_seal);
criterion_main!(benches);
