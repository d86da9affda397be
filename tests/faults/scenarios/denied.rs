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
    let mut members = trial.start_all();
    let times = random.u32(1..3);
    trial.disturb(times, &mut members, &mut random, |random| {
        let time = Duration::from_millis(random.u64(0..2 * LOGIN_MS));
        let loss = match random.u8(..4) {
            0 | 1 => Loss::Permission(permissions[random.usize(..permissions.len())]),
            2 => Loss::Bandwidth,
            _ => Loss::Password,
        };
        loss.begin(&kafka);
        // The duration of the fault.
        thread::sleep(time);
        loss.end(&kafka);
    });
    trial.all_end_well_or_say(&mut members, &["grant the user", "Authentication"]);
    drop(members);
    let outcome = trial.finish();
    drop(kafka);
    outcome
}

/// What the job's user loses for a time.
#[derive(Debug, Clone, Copy)]
enum Loss<'a> {
    /// The kind and the name of a resource, and an operation on it.
    Permission([&'a str; 3]),
    Bandwidth,
    Password,
}

impl Loss<'_> {
    fn begin(self, kafka: &OwnKafka) {
        match self {
            Self::Permission(permission) => acl(kafka, "--remove", permission),
            Self::Bandwidth => {
                let quotas = "producer_byte_rate=20000,consumer_byte_rate=50000";
                configure_user(kafka, ["--add-config", quotas]);
            }
            Self::Password => set_password(kafka, "another"),
        }
    }

    fn end(self, kafka: &OwnKafka) {
        match self {
            Self::Permission(permission) => acl(kafka, "--add", permission),
            Self::Bandwidth => {
                configure_user(kafka, ["--delete-config", "producer_byte_rate,consumer_byte_rate"]);
            }
            Self::Password => set_password(kafka, &format!("{USER}-secret")),
        }
    }
}

fn set_password(kafka: &OwnKafka, password: &str) {
    configure_user(kafka, ["--add-config", &format!("SCRAM-SHA-512=[password={password}]")]);
}

fn configure_user(kafka: &OwnKafka, change: [&str; 2]) {
    let user = ["--alter", "--entity-type", "users", "--entity-name", USER];
    kafka.tool("kafka.admin.ConfigCommand", &[&user[..], &change].concat());
}

/// Grants the job's user a permission, or takes it away.
fn acl(kafka: &OwnKafka, change: &str, [kind, name, operation]: [&str; 3]) {
    let user = format!("User:{USER}");
    let arguments = [change, "--allow-principal", &user, "--operation", operation, kind, name];
    // Without this the program asks whether one is sure.
    let sure = if change == "--remove" { &["--force"][..] } else { &[] };
    kafka.tool("AclCommand", &[&arguments[..], sure].concat());
}
