//! A request that the network holds back reaches the broker after its repetition was answered, in the middle of the
//! next transaction.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use velo_engine::failpoint::Edge;

use crate::broker::Broker;
use crate::faults::kafka::OwnKafka;
use crate::faults::proxy::{ApiKey, Proxy};
use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

/// The requests that are held back, and before which one they arrive. The end of a transaction says in its last byte
/// whether the transaction is committed.
const LATE: [(ApiKey, Option<u8>, ApiKey); 6] = [
    (ApiKey::EndTxn, Some(0), ApiKey::AddOffsetsToTxn),
    (ApiKey::EndTxn, Some(1), ApiKey::AddOffsetsToTxn),
    (ApiKey::TxnOffsetCommit, None, ApiKey::AddOffsetsToTxn),
    (ApiKey::AddPartitionsToTxn, None, ApiKey::AddOffsetsToTxn),
    (ApiKey::AddOffsetsToTxn, None, ApiKey::AddPartitionsToTxn),
    (ApiKey::Produce, None, ApiKey::AddOffsetsToTxn),
];

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
    let (key, last_byte, before) = LATE[usize::try_from(seed).expect("small") % LATE.len()];
    let mut trial = Trial::new(&own, plan, Workload::new(seed, 10_000, 4));
    let nth = if last_byte == Some(0) { 1 } else { random.u32(1..3) };
    proxy.deliver_late(key, last_byte, nth, before);
    // In a transaction that another one's end has committed, a process that is killed would leave records that are
    // written again.
    let dies = last_byte == Some(1);
    let armed = format!("{}={nth}*off->return", Edge::TransactionOffsets.name());
    let mut member = trial.start(0, dies.then_some(armed.as_str()));
    let aborts = last_byte == Some(0);
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
    if !proxy.wait_dropped(1, Duration::ZERO) {
        trial.break_promise(format!("the job has sent less than {nth} {key:?}"));
    }
    drop(member);
    let outcome = trial.finish();
    drop(proxy);
    outcome
}
