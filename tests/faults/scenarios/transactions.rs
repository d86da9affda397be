//! The source is written in transactions: some are aborted, one hangs while the job reads.

use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::faults::source::{Hanging, Part};
use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan::draw(&mut random);
    let workload = Workload { is_transactional: true, ..Workload::new(seed, 4000, 4) };
    // The hanging transaction lies between two parts of the records. The second part cannot be read before it ends.
    let before = random.u64(0..workload.records);
    let first = Part { numbers: 0..before, ..Part::whole(&workload) };
    let mut trial = Trial::with_part(site, plan, workload, &first);
    let hanging = Hanging::begin(site.broker, &trial.observed().source, &workload);
    trial.produce(&Part { numbers: before..workload.records, ..Part::whole(&workload) });
    // With --until-end, a job that starts now would end before the hanging transaction.
    let mut members: Vec<_> = (0..plan.members).map(|number| trial.start_endless(number)).collect();
    // The duration of the fault.
    thread::sleep(Duration::from_millis(random.u64(0..8000)));
    hanging.abort();
    trial.source_changed();
    trial.stop_at_end(&mut members);
    drop(members);
    trial.finish()
}
