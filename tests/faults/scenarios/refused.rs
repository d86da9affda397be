//! The sink's topic refuses some of the records, in the middle of requests and transactions.

use fastrand::Rng;

use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let plan = Plan::draw(&mut Rng::with_seed(seed));
    let workload = Workload { seed, records: 3000, partitions: 4, has_undecodable: true, has_refused: true };
    Trial::new(site, plan, workload).finish()
}
