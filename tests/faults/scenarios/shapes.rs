//! Records of every shape, among them some as large as brokers accept, with timestamps of producers or of brokers.

use fastrand::Rng;

use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan::draw(&mut random);
    let source: &[_] = if random.bool() { &[("message.timestamp.type", "LogAppendTime")] } else { &[] };
    let workload = Workload { has_large: true, source, ..Workload::new(seed, 3000, 4) };
    Trial::new(site, plan, workload).finish()
}
