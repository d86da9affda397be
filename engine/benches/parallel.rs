//! What does `batch.parallel` gain? Whole jobs over memory, two mega batches of keyed records whose work
//! takes a core a while, on one thread and on all; that a key's records stay in order is asserted inside.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use velo_engine::batch::Batch;
use velo_engine::process::{Attempt, Failure, Output, Processor};
use velo_engine::source::memory::MemorySource;
use velo_engine::{Engine, JobConfig};
use velo_schema::{Config, Strategy};

const RECORDS: u32 = 20_000;
const KEYS: u32 = 500;

/// Hashes every value again and again, and keeps the last offset of each key that it has seen.
struct Hashing {
    last: HashMap<Vec<u8>, i64>,
    seen: Arc<Mutex<u32>>,
}

impl Processor for Hashing {
    fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        for row in 0..batch.len() {
            let key = batch.key(row).unwrap_or_default();
            let before = self.last.insert(key.to_vec(), batch.offset(row));
            assert!(before.is_none_or(|before| before < batch.offset(row)), "the order of a key");
            let mut hash = 0xcbf2_9ce4_8422_2325_u64;
            for _ in 0..20 {
                for byte in batch.value(row).unwrap_or_default() {
                    hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            black_box(hash);
        }
        *self.seen.lock().expect("no panic") += batch.len();
        out.forward_all();
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(Self { last: HashMap::new(), seen: Arc::clone(&self.seen) }))
    }
}

fn job(parallel: bool, records: Vec<(Vec<u8>, Vec<u8>)>) {
    let strategy = Strategy::MegaBatch {
        records: u64::from(RECORDS / 2),
        parallel,
        reuse_buffer: true,
        timeout: std::time::Duration::from_secs(1),
    };
    let config = JobConfig::uniform(Config { strategy, ..Config::default() });
    let seen = Arc::<Mutex<u32>>::default();
    let hashing = Hashing { last: HashMap::new(), seen: Arc::clone(&seen) };
    let report = Engine::builder(config).processor(hashing).run(MemorySource::keyed(records), &mut |_| {});
    assert_eq!((report.ledger.ok, *seen.lock().expect("no panic")), (u64::from(RECORDS), RECORDS));
}

fn parallel(c: &mut Criterion) {
    let records: Vec<_> = (0..RECORDS)
        .map(|n| ((n % KEYS).to_be_bytes().to_vec(), vec![u8::try_from(n % 251).unwrap_or(0); 200]))
        .collect();
    let mut group = c.benchmark_group("parallel");
    group.throughput(Throughput::Elements(RECORDS.into())).sampling_mode(SamplingMode::Flat).sample_size(10);
    for (name, parallel) in [("one thread", false), ("all threads", true)] {
        group.bench_function(name, |b| b.iter(|| job(parallel, records.clone())));
    }
    group.finish();
}

criterion_group!(benches, parallel);
criterion_main!(benches);
