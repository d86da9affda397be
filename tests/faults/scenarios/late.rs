//! A request that the network holds back reaches the broker after its repetition was answered, in the middle of the
//! next transaction.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use velo_engine::failpoint::Edge;

use crate::broker::Broker;
use crate::faults::kafka::OwnKafka;
use crate::faults::proxy::{ApiKey, Late, Proxy};
use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

/// The requests that are held back, and when they arrive: in the next transaction. The last byte of `EndTxn` is 1 if the
/// transaction is committed, and 0 if it is aborted.
const LATE: [(ApiKey, Late); 6] = [
    (ApiKey::EndTxn, late(Some(0), ApiKey::AddOffsetsToTxn, 1)),
    (ApiKey::EndTxn, late(Some(1), ApiKey::AddOffsetsToTxn, 1)),
    (ApiKey::TxnOffsetCommit, late(None, ApiKey::AddOffsetsToTxn, 1)),
    // The first AddOffsetsToTxn that follows belongs to the same transaction.
    (ApiKey::AddPartitionsToTxn, late(None, ApiKey::AddOffsetsToTxn, 2)),
    (ApiKey::AddOffsetsToTxn, late(None, ApiKey::AddPartitionsToTxn, 1)),
    (ApiKey::Produce, late(None, ApiKey::AddOffsetsToTxn, 2)),
];

const fn late(last_byte: Option<u8>, before: ApiKey, nth: u32) -> Late {
    Late { last_byte, before, nth }
}

const SMALL: &str = "'batch.strategy' = 'fixed_size', 'batch.size' = '200'";

/// Longer than the members' session.timeout.ms.
const PAST_SESSION: Duration = Duration::from_secs(9);

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let proxy = Proxy::bind();
    let kafka = OwnKafka::start(&["--proxied", &proxy.port().to_string()]);
    proxy.connect_to(&kafka.others["proxied"]);
    let direct = Broker::At(kafka.broker.address());
    let own = Site { address: format!("127.0.0.1:{}", proxy.port()), ..Site::new(&direct, site.mutant) };
    let drawn = Plan { exactly_once: true, members: 1, cost: "1ms/record", ..Plan::draw(&mut random) };
    // A batch of the fastest strategies would hold all records.
    let is_large = ["mega_batch", "time_window"].iter().any(|name| drawn.strategy.contains(name));
    let plan = if is_large { Plan { strategy: SMALL, ..drawn } } else { drawn };
    // Every kind has its turn among consecutive seeds.
    let (key, late) = LATE[usize::try_from(seed).expect("small") % LATE.len()];
    let mut trial = Trial::new(&own, plan, Workload::new(seed, 10_000, 4));
    let nth = if late.last_byte == Some(0) { 1 } else { random.u32(1..3) };
    proxy.deliver_late(key, nth, late);
    // In a transaction that another one's end has committed, a process that is killed would leave records that are
    // written again.
    let dies = late.last_byte == Some(1);
    let armed = format!("{}={nth}*off->return", Edge::TransactionOffsets.name());
    let mut member = trial.start(0, dies.then_some(armed.as_str()));
    let aborts = late.last_byte == Some(0);
    while aborts && !proxy.wait_dropped(1, Duration::ZERO) {
        if !trial.wait_for_more(random.i64(1..1000), std::slice::from_mut(&mut member)) {
            break;
        }
        // It loses its partitions, and aborts the transaction if one is open.
        trial.incident();
        member.signal("-STOP");
        thread::sleep(PAST_SESSION);
        member.signal("-CONT");
        trial.incident();
    }
    if dies && trial.ended(&mut member).is_none() {
        trial.incident();
    } else {
        trial.all_end_well(std::slice::from_mut(&mut member));
    }
    drop(member);
    let mut outcome = trial.finish();
    if proxy.delivered_late() == 0 {
        // Not counted as a mutant that was found.
        outcome.verdict.broken.push(format!("no late {key:?} was delivered within the input"));
    }
    outcome
}
