//! The network between a job and its broker fails: answers that are lost after the broker has done what it was asked,
//! delays, narrow lines, connections that stand still, break in the middle of a frame or come and go.

use std::thread;
use std::time::Duration;

use super::brokers::disturb;
use crate::broker::Broker;
use crate::faults::kafka::OwnKafka;
use crate::faults::proxy::{ApiKey, Proxy};
use crate::faults::trial::{Outcome, Site};

/// Requests whose answers are lost: what the broker has done is not known to the job.
const LOST: [ApiKey; 12] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::EndTxn,
];

/// The first of them are requests of jobs without transactions, too.
const OF_ALL_JOBS: usize = 8;

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let proxy = Proxy::bind();
    let kafka = OwnKafka::start(&["--proxied", &proxy.port().to_string()]);
    proxy.connect_to(&kafka.others["proxied"]);
    let direct = Broker::At(kafka.broker.address());
    let address = format!("127.0.0.1:{}", proxy.port());
    let own = Site { address, ..Site::new(&direct, site.mutant) };
    let outcome = disturb(&own, seed, |random, plan| {
        let time = Duration::from_millis(random.u64(500..9000));
        match random.u8(0..7) {
            0 | 1 => {
                let keys = if plan.exactly_once { &LOST[..] } else { &LOST[..OF_ALL_JOBS] };
                let (key, nth) = (keys[random.usize(..keys.len())], random.u32(1..4));
                match random.u8(0..3) {
                    0 => proxy.drop_request(key, nth, random.u32(1..4)),
                    1 => proxy.reset_mid_frame(key, nth, random.u32(1..4)),
                    _ => proxy.drop_answer(key, nth, random.u32(1..4)),
                }
            }
            2 => proxy.latency(Duration::from_millis(random.u64(5..300))),
            3 => proxy.bandwidth(random.usize(1000..50_000)),
            4 => proxy.half_open(),
            5 => proxy.flapping(Duration::from_millis(random.u64(50..1000)), Duration::from_millis(200)),
            _ => proxy.cut(),
        }
        // The duration of the fault.
        thread::sleep(time);
        proxy.heal();
    });
    drop(proxy);
    drop(kafka);
    outcome
}
