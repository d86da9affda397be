//! What does `batch.reuse_buffer` gain? The same filling and sealing of mega batches over a ring whose
//! memory is used again, and over one that is made and freed for every batch.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use velo_engine::batch::{BatchBuilder, Record};
use velo_engine::ids::{LaneId, Names};

const VALUE: [u8; 200] = [b'x'; 200];

fn fill(builder: &mut BatchBuilder, rows: u32) -> u32 {
    assert!(builder.is_ready());
    for offset in 0..i64::from(rows) {
        builder.push(LaneId(0), Record { offset, value: Some(&VALUE), ..Record::default() });
    }
    builder.seal(Names::default()).len()
}

fn arena(c: &mut Criterion) {
    let mut group = c.benchmark_group("arena");
    for rows in [10_000_u32, 50_000] {
        group.throughput(Throughput::Elements(rows.into()));
        group.bench_function(BenchmarkId::new("used again", rows), |b| {
            let mut builder = BatchBuilder::with_ring(1);
            b.iter(|| fill(&mut builder, rows));
        });
        group.bench_function(BenchmarkId::new("made and freed", rows), |b| {
            b.iter(|| fill(&mut BatchBuilder::with_ring(1), rows));
        });
        group.bench_function(BenchmarkId::new("sized like the one before", rows), |b| {
            let mut builder = BatchBuilder::default();
            b.iter(|| fill(&mut builder, rows));
        });
    }
    group.finish();
}

criterion_group!(benches, arena);
criterion_main!(benches);
