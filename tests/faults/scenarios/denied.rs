//! A secured broker takes away what a job needs while it runs, and gives it back: a permission, its bandwidth or its
//! password.

use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::broker::Broker;
use crate::faults::kafka::OwnKafka;
use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

const USER: &str = "runner";
/// Clients have to log in again after this time.
const LOGIN_MS: u64 = 3000;

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let login = format!("connections.max.reauth.ms={LOGIN_MS}");
    let kafka = OwnKafka::start(&[
        "--secured",
        "--user",
        &format!("{USER}={USER}-secret"),
        "--set",
        "quota.window.num=2",
        "--set",
        &login,
    ]);
    let broker = Broker::At(kafka.broker.address());
    let properties = vec![
        "security.protocol=SASL_SSL".to_owned(),
        format!("ssl.ca.location={}/ca.pem", kafka.others["certificates"]),
        "sasl.mechanism=SCRAM-SHA-512".to_owned(),
        format!("sasl.username={USER}"),
        format!("sasl.password={USER}-secret"),
    ];
    let own =
        Site { address: kafka.others["sasl_ssl"].clone(), properties, ..Site::new(&broker, site.mutant) };
    let plan = Plan { cost: "0.5ms/record", ..Plan::draw(&mut random) };
    let mut trial = Trial::new(&own, plan, Workload::new(seed, 8000, 4));
    let observed = trial.observed().clone();
    let permissions = [
        ["--topic", observed.source.as_str(), "Read"],
        ["--topic", observed.sink.as_str(), "Write"],
        ["--topic", observed.dlq.as_str(), "Write"],
        ["--group", observed.group.as_str(), "Read"],
    ];
    for permission in permissions {
        acl(&kafka, "--add", permission);
    }
    for number in 0..plan.members {
        acl(&kafka, "--add", ["--transactional-id", &format!("{}-{number}", observed.group), "Write"]);
    }
    let mut members: Vec<_> = (0..plan.members).map(|number| trial.start(number, None)).collect();
    for _ in 0..random.u32(1..3) {
        let committed = trial.committed().map_or(0, |committed| committed.values().sum());
        if !trial.wait_for_commits(committed + random.i64(1..1500), &mut members) {
            break;
        }
        trial.incident();
        let time = Duration::from_millis(random.u64(0..2 * LOGIN_MS));
        match random.u8(..4) {
            0 | 1 => {
                let permission = permissions[random.usize(..permissions.len())];
                acl(&kafka, "--remove", permission);
                thread::sleep(time);
                acl(&kafka, "--add", permission);
            }
            2 => {
                let user = ["--alter", "--entity-type", "users", "--entity-name", USER];
                let quotas = "producer_byte_rate=20000,consumer_byte_rate=50000";
                configure(&kafka, &[&user[..], &["--add-config", quotas]].concat());
                thread::sleep(time);
                let names = "producer_byte_rate,consumer_byte_rate";
                configure(&kafka, &[&user[..], &["--delete-config", names]].concat());
            }
            _ => {
                set_password(&kafka, "another");
                thread::sleep(time);
                set_password(&kafka, &format!("{USER}-secret"));
            }
        }
        trial.incident();
    }
    trial.all_end_well_or_say(&mut members, &["grant the user", "Authentication"]);
    drop(members);
    let outcome = trial.finish();
    drop(kafka);
    outcome
}

fn configure(kafka: &OwnKafka, arguments: &[&str]) {
    kafka.tool("kafka.admin.ConfigCommand", arguments);
}

fn set_password(kafka: &OwnKafka, password: &str) {
    let scram = format!("SCRAM-SHA-512=[password={password}]");
    let user = ["--alter", "--entity-type", "users", "--entity-name", USER];
    configure(kafka, &[&user[..], &["--add-config", &scram]].concat());
}

/// Grants the job's user a permission, or takes it away.
fn acl(kafka: &OwnKafka, change: &str, [kind, name, operation]: [&str; 3]) {
    let user = format!("User:{USER}");
    let arguments = [change, "--allow-principal", &user, "--operation", operation, kind, name];
    // Without this the program asks whether one is sure.
    let sure = if change == "--remove" { &["--force"][..] } else { &[] };
    kafka.tool("AclCommand", &[&arguments[..], sure].concat());
}
