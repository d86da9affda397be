//! A process is asked to end, by SIGTERM, at any time: it settles and commits what it has begun, its peers go on, and
//! nothing is written twice.

use std::time::Duration;

use fastrand::Rng;

use crate::faults::trial::{Outcome, Site, Trial};

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let mut trial = Trial::of_slow_records(site, seed, &mut random);
    let mut members = trial.start_all();
    for _ in 0..random.u32(1..4) {
        if !trial.wait_for_more(random.i64(1..2000), &mut members) {
            break;
        }
        let stopped = random.usize(..members.len());
        members[stopped].signal("-TERM");
        trial.all_end_or_are_stopped(std::slice::from_mut(&mut members[stopped]));
        let said = members[stopped].said();
        members[stopped] = trial.start(stopped, None);
        // It listens to signals once it has said something.
        while members[stopped].said() == said && members[stopped].wait(Duration::from_millis(10)).is_none() {}
    }
    trial.all_end_well(&mut members);
    drop(members);
    trial.finish()
}
