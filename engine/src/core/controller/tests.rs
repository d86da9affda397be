//! The controller against service times that it does not know, beside the usual additive increase.

use super::*;

const TARGET: Target = Target { min_records: 10, max_records: 5000, latency: Duration::from_millis(100) };

/// A service time of n records, in milliseconds.
type Service = fn(f64) -> f64;

/// Service times whose best size differs by more than ten times, and one with a knee.
const SERVICES: [(&str, Service); 4] = [
    ("affine", |n| 2.0 + 0.1 * n),
    ("fixed cost", |n| 60.0 + 0.02 * n),
    ("per record", |n| 0.5 + 1.0 * n),
    ("superlinear", |n| 5.0 + 0.02 * n + 0.0001 * n * n),
];

/// Anything that chooses a size.
trait Chooser {
    fn size(&self) -> u64;
    fn observe(&mut self, records: u64, service: Duration, full: bool);
}

impl Chooser for Controller {
    fn size(&self) -> u64 {
        Controller::size(self)
    }

    fn observe(&mut self, records: u64, service: Duration, full: bool) {
        Controller::observe(self, records, service, full);
    }
}

/// The usual scheme: a step up below the target, half of it above.
struct AdditiveIncrease(u64);

impl Chooser for AdditiveIncrease {
    fn size(&self) -> u64 {
        self.0
    }

    fn observe(&mut self, _: u64, service: Duration, full: bool) {
        if service > TARGET.latency {
            self.0 = (self.0 / 2).max(TARGET.min_records);
        } else if full {
            self.0 = (self.0 + 10).min(TARGET.max_records);
        }
    }
}

/// How it went: batches until one takes 70 to 110 % of the target, and the share over it after that.
struct Run {
    settled_after: usize,
    over_target: f64,
}

const BATCHES: usize = 400;

/// Always full batches, with noise of ±10 % and now and then a stall.
fn run(mut chooser: impl Chooser, service: Service, seed: u64, stalls: bool) -> Run {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut settled_after = BATCHES;
    let (mut over, mut counted) = (0_u32, 0_u32);
    for batch in 0..BATCHES {
        let size = chooser.size();
        let noise = 1.0 + 0.1 * (2.0 * random.f64() - 1.0);
        let stall = if stalls && random.f64() < 0.01 { 300.0 } else { 0.0 };
        let took_ms = service(size as f64) * noise + stall;
        chooser.observe(size, Duration::from_secs_f64(took_ms / 1e3), true);
        let is_near = (70.0..=110.0).contains(&service(size as f64));
        if is_near && settled_after == BATCHES {
            settled_after = batch;
        } else if settled_after < BATCHES && stall == 0.0 {
            counted += 1;
            over += u32::from(took_ms > 100.0);
        }
    }
    Run { settled_after, over_target: f64::from(over) / f64::from(counted.max(1)) }
}

#[test]
fn it_settles_in_a_few_batches_and_stays_below_the_target() {
    let (mut ours, mut usual) = (Vec::new(), Vec::new());
    for (name, service) in SERVICES {
        for seed in 0..8 {
            for stalls in [false, true] {
                let run_of_ours = run(Controller::new(TARGET), service, seed, stalls);
                assert!(run_of_ours.settled_after <= 16, "{name}: {} batches", run_of_ours.settled_after);
                assert!(
                    run_of_ours.over_target <= 0.08,
                    "{name}: {:.3} over target",
                    run_of_ours.over_target
                );
                ours.push(run_of_ours.settled_after);
                let baseline = run(AdditiveIncrease(TARGET.min_records), service, seed, stalls);
                usual.push(baseline.settled_after);
            }
        }
    }
    let mean = |of: &[usize]| of.iter().sum::<usize>() as f64 / of.len() as f64;
    println!("batches to settle: {:.1}, additive increase {:.1}", mean(&ours), mean(&usual));
    assert!(mean(&ours) < mean(&usual));
}

#[test]
fn a_processor_that_slows_down_is_followed() {
    let mut controller = Controller::new(TARGET);
    let mut feed = |per_record_ms: f64, batches: usize| {
        for _ in 0..batches {
            let size = controller.size();
            let took = Duration::from_secs_f64((2.0 + per_record_ms * size as f64) / 1e3);
            controller.observe(size, took, true);
        }
        controller.size()
    };
    let fast = feed(0.1, 20);
    assert!((700..=900).contains(&fast), "{fast}");
    let slow = feed(1.0, 10);
    assert!((70..=90).contains(&slow), "{slow}");
    let fast_again = feed(0.1, 20);
    assert!((700..=900).contains(&fast_again), "{fast_again}");
}

#[test]
fn a_batch_that_was_not_full_lets_nothing_grow() {
    let mut controller = Controller::new(TARGET);
    for _ in 0..50 {
        controller.observe(3, Duration::from_millis(1), false);
    }
    assert_eq!(controller.size(), TARGET.min_records);
}

#[test]
fn sizes_stay_within_their_bounds_and_change_by_a_factor_of_two_at_most() {
    let mut controller = Controller::new(TARGET);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2000 {
        let before = controller.size();
        let took = Duration::from_micros(random.u64(0..1_000_000));
        controller.observe(random.u64(1..=before), took, random.bool());
        let after = controller.size();
        assert!((TARGET.min_records..=TARGET.max_records).contains(&after));
        assert!(after <= before * 2 && after * 2 + 1 >= before, "{before} to {after}");
    }
}
