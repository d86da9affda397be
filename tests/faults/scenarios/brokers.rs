//! The broker is killed, stopped or paused while a job fetches, writes and commits, and comes back.

use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::faults::kafka::OwnKafka;
use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    // After it was killed, a broker is let in again when its session has ended.
    let quick = ["broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=500"];
    let mut kafka = OwnKafka::start(&["--set", quick[0], "--set", quick[1]]);
    let address = kafka.broker.address();
    let broker = crate::broker::Broker::At(address);
    let own = Site::new(&broker, site.mutant);
    disturb(&own, seed, |random, _| {
        let (off, on) = [("kill", "start"), ("stop", "start"), ("pause", "continue")][random.usize(..3)];
        kafka.command(off);
        if off == "pause" {
            // A paused broker is one that does not answer for a while: shorter and longer than a session.
            thread::sleep(Duration::from_millis(random.u64(500..9000)));
        }
        kafka.command(on);
    })
}

/// Runs a job, disturbs its brokers a few times between commits, and lets it finish.
pub(crate) fn disturb(site: &Site<'_>, seed: u64, mut disturbance: impl FnMut(&mut Rng, &Plan)) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan { cost: "0.5ms/record", ..Plan::draw(&mut random) };
    let workload = Workload::new(seed, 8000, 4);
    let mut trial = Trial::new(site, plan, workload);
    let mut members = trial.start_all();
    let times = random.u32(1..4);
    trial.disturb(times, &mut members, &mut random, |random| disturbance(random, &plan));
    trial.all_end_well_or_outlast_a_transaction(&mut members);
    drop(members);
    trial.finish()
}
