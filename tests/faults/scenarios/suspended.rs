//! A process is stopped for longer than its session, the time between its polls or its transaction may take, while
//! its peers go on; then it wakes up.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::faults::trial::{Outcome, Site, Trial};

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let mut trial = Trial::of_slow_records(site, seed, &mut random);
    let mut members = trial.start_all();
    for _ in 0..random.u32(1..3) {
        if !trial.wait_for_more(random.i64(1..2000), &mut members) {
            break;
        }
        let victim = random.usize(..members.len());
        members[victim].signal("-STOP");
        trial.incident();
        // The session is 6 s.
        let until = Instant::now() + Duration::from_millis(random.u64(500..15_000));
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            // It has come to its end before it was stopped, or it does not end now.
            if members[victim].wait(left).is_some() {
                break;
            }
        }
        trial.incident();
        members[victim].signal("-CONT");
        trial.incident();
    }
    trial.all_end_well_or_are_replaced(&mut members);
    drop(members);
    trial.finish()
}
