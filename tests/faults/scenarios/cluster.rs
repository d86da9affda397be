//! Of three brokers with replicated topics, one or two are killed, stopped or paused and come back: leaders and
//! coordinators move, and for a while there are too few replicas to write to.

use std::thread;
use std::time::Duration;

use super::brokers::disturb;
use crate::broker::Broker;
use crate::faults::kafka::OwnKafka;
use crate::faults::trial::{Outcome, Site};

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut kafka = OwnKafka::start(&["--brokers", "3"]);
    let broker = Broker::At(kafka.broker.address());
    let own = Site::new(&broker, site.mutant);
    disturb(&own, seed, |random, _| {
        let (off, on) = [("kill", "start"), ("stop", "start"), ("pause", "continue")][random.usize(..3)];
        let first = random.u32(1..4);
        let second = first % 3 + 1;
        let nodes = if random.bool() { first.to_string() } else { format!("{first} {second}") };
        kafka.command(&format!("{off} {nodes}"));
        // The others find out, and go on or wait.
        thread::sleep(Duration::from_millis(random.u64(500..12_000)));
        kafka.command(&format!("{on} {nodes}"));
    })
}
