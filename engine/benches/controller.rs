//! What does it cost to choose the next size? One observation of the adaptive controller: it is made
//! once a batch, so microseconds would do.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use velo_engine::core::controller::{Controller, Target};

fn observe(c: &mut Criterion) {
    let target = Target { min_records: 10, max_records: 5000, latency: Duration::from_millis(100) };
    c.bench_function("controller/observe", |b| {
        let mut controller = Controller::new(target);
        b.iter(|| {
            let size = controller.size();
            controller.observe(size, Duration::from_micros(2000 + 100 * size), true);
            controller.size()
        });
    });
}

criterion_group!(benches, observe);
criterion_main!(benches);
