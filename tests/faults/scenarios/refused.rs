//! The sink's topic refuses some of the records, in the middle of requests and transactions.

use fastrand::Rng;

use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::{Refusal, Workload};

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan::draw(&mut random);
    let refusal = if random.bool() { Refusal::Old } else { Refusal::Large };
    let workload = Workload { refusal: Some(refusal), ..Workload::new(seed, 3000, 4) };
    Trial::new(site, plan, workload).finish()
}
