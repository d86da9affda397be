//! A broker with TLS, SASL and ACLs: every way to log in, the least that a user must be granted, and what is
//! said where something is missing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::broker::{Broker, RealKafka, busy, root};
use crate::run::{Audit, BUFFERED, Job, audit};
use crate::topic::{Load, count};

/// A secured broker: its addresses by listener, and where the certificates are.
struct Secured {
    addresses: BTreeMap<String, String>,
    /// Without security, as a super user.
    plain: RealKafka,
}

/// Users besides the script's own.
const USERS: [&str; 3] = ["runner", "looker", "slow"];

fn secured() -> &'static Secured {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    SECURED.get_or_init(|| {
        let mut script = Command::new(root().join("scripts/kafka"))
            .args(["run", "--secured", "--set", "quota.window.num=2"])
            .args(USERS.iter().flat_map(|user| ["--user".to_owned(), format!("{user}={user}-secret")]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/kafka runs");
        let stdin = script.stdin.take().expect("a pipe");
        let lines = BufReader::new(script.stdout.take().expect("a pipe")).lines();
        let lines = lines.map(|line| line.expect("a line")).take_while(|line| line != "end");
        let addresses: BTreeMap<_, _> = lines
            .map(|line| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .map(|pair| pair.expect("a name and a value"))
            .collect();
        let plain = RealKafka::held(addresses["ready"].clone(), script, stdin);
        Secured { addresses, plain }
    })
}

impl Secured {
    fn broker(&'static self) -> Broker {
        Broker::Real(&self.plain)
    }

    fn certificate(&self, name: &str) -> String {
        PathBuf::from(&self.addresses["certificates"]).join(name).display().to_string()
    }

    fn tool(&self, class: &str, args: &[&str]) {
        let output = Command::new(root().join("scripts/kafka"))
            .args(["tool", class, "--bootstrap-server", &self.addresses["ready"]])
            .args(args)
            .output()
            .expect("scripts/kafka runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Grants a user operations on a resource, or takes them away.
    fn acl(&self, change: &str, user: &str, resource: &[&str], operation: &str) {
        let user = format!("User:{user}");
        // Without this it asks whether one is sure.
        let sure = if change == "--remove" { &["--force"][..] } else { &[] };
        let change = [change, "--allow-principal", &user, "--operation", operation];
        self.tool("AclCommand", &[&change[..], resource, sure].concat());
    }

    /// What a SASL client over TLS needs to know, besides who it is.
    fn tls(&self) -> Vec<String> {
        vec![
            "security.protocol=SASL_SSL".to_owned(),
            format!("ssl.ca.location={}", self.certificate("ca.pem")),
        ]
    }

    fn login(&self, mechanism: &str, user: &str) -> Vec<String> {
        let login = [
            format!("sasl.mechanism={mechanism}"),
            format!("sasl.username={user}"),
            format!("sasl.password={user}-secret"),
        ];
        [self.tls(), login.to_vec()].concat()
    }
}

fn run_as(job: &Job<'_>, address: &str, properties: &[String]) -> Command {
    let mut command = job.command_without_broker();
    command.args(["--until-end", "--bootstrap-servers", address]);
    for property in properties {
        command.args(["-X", property]);
    }
    command
}

const LOAD: Load = Load { number: 1000, partitions: 2, bytes: 100, poison_every: 100 };
const EVERYTHING: Audit = Audit { sink: 990, dlq: 10, lost: 0, repeated: 0 };

fn moves_everything(job: &Job<'_>, mut command: Command) {
    let Output { status, stderr, .. } = command.output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{stderr}");
    assert!(!stderr.contains("-secret"), "{stderr}");
    assert_eq!(audit(job, LOAD), EVERYTHING);
    let report = std::fs::read_to_string(job.report_path()).expect("a report");
    assert!(!report.contains("-secret"), "{report}");
}

#[test]
fn every_mechanism_and_every_way_to_say_it_logs_in() {
    let _busy = busy();
    let secured = secured();
    let broker = secured.broker();
    for user in ["user", "client"] {
        secured.acl(
            "--add",
            user,
            &["--topic", "s", "--group", "group", "--resource-pattern-type", "prefixed"],
            "All",
        );
    }
    let sasl = &secured.addresses["sasl_ssl"];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for fetcher in ["librdkafka", "native"] {
            let job = Job::new(&broker, LOAD, BUFFERED);
            let mut command = run_as(&job, sasl, &secured.login(mechanism, "user"));
            command.args(["--fetcher", fetcher]);
            moves_everything(&job, command);
        }
    }
    let token = [
        "sasl.mechanism=OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt=true",
        "sasl.oauthbearer.config=principal=user",
    ];
    let job = Job::new(&broker, LOAD, BUFFERED);
    moves_everything(&job, run_as(&job, sasl, &[secured.tls(), token.map(str::to_owned).to_vec()].concat()));

    let certificate = [
        "security.protocol=SSL".to_owned(),
        format!("ssl.ca.location={}", secured.certificate("ca.pem")),
        format!("ssl.certificate.location={}", secured.certificate("client.pem")),
        format!("ssl.key.location={}", secured.certificate("client.key")),
    ];
    for fetcher in ["librdkafka", "native"] {
        let job = Job::new(&broker, LOAD, BUFFERED);
        let mut command = run_as(&job, &secured.addresses["mtls"], &certificate);
        command.args(["--fetcher", fetcher]);
        moves_everything(&job, command);
    }

    // A Java client's file, which says where the brokers are, too.
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let ca = secured.certificate("ca.pem");
    write!(
        file,
        "bootstrap.servers={sasl}\nsecurity.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n \
         username=\"user\" password=\"user-secret\";\nssl.truststore.type=PEM\nssl.truststore.location={ca}\n"
    )
    .expect("written");
    let job = Job::new(&broker, LOAD, BUFFERED);
    let mut command = job.command_without_broker();
    command.args(["--until-end", "--fetcher", "native", "--properties"]).arg(file.path());
    moves_everything(&job, command);

    // A password of a file, or of a variable.
    let mut password = tempfile::NamedTempFile::new().expect("a file");
    writeln!(password, "user-secret").expect("written");
    let mut properties = secured.login("SCRAM-SHA-512", "user");
    properties.pop();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let mut command = run_as(&job, sasl, &properties);
    command.env("VELO_KAFKA_SASL_PASSWORD", "user-secret");
    moves_everything(&job, command);
    properties.push(format!("sasl.password=@{}", password.path().display()));
    let job = Job::new(&broker, LOAD, BUFFERED);
    moves_everything(&job, run_as(&job, sasl, &properties));
}

#[test]
fn what_is_documented_is_enough_to_run_and_each_part_of_it_is_needed() {
    let _busy = busy();
    let secured = secured();
    let broker = secured.broker();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let group = job.group.clone();
    let grants: [(&[&str], &str, &str); 5] = [
        (&["--topic", &job.source], "Read", "Describe and Read on source topics"),
        (&["--group", &group], "Read", "Read on the group"),
        (&["--topic", &job.sink], "Write", "Describe and Write on target topics"),
        (&["--topic", &job.dlq], "Write", "Describe and Write on target topics"),
        (&["--transactional-id", &group], "Write", "Describe and Write on the transactional id"),
    ];
    for (resource, operation, _) in grants {
        secured.acl("--add", "runner", resource, operation);
    }
    let command = || {
        let sasl = &secured.addresses["sasl_ssl"];
        let mut command = run_as(&job, sasl, &secured.login("SCRAM-SHA-512", "runner"));
        command.arg("--exactly-once");
        command
    };
    for (resource, operation, advice) in grants {
        secured.acl("--remove", "runner", resource, operation);
        let output = command().output().expect("velo runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        println!("without {operation} on {}: {stderr}", resource[1]);
        assert!(!output.status.success(), "without {operation} on {}: {stderr}", resource[1]);
        assert!(stderr.contains(advice), "without {operation} on {}: {stderr}", resource[1]);
        secured.acl("--add", "runner", resource, operation);
    }
    moves_everything(&job, command());
}

#[test]
fn looking_needs_no_more_than_read_on_the_topic() {
    let _busy = busy();
    let secured = secured();
    let broker = secured.broker();
    let job = Job::new(&broker, LOAD, BUFFERED);
    job.run();
    let topics = ["--topic", &job.source, "--topic", &job.dlq];
    secured.acl("--add", "looker", &topics, "Read");
    let velo = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_velo"));
        command.current_dir(job.folder()).args(args);
        command.args(["--bootstrap-servers", &secured.addresses["sasl_ssl"]]);
        for property in secured.login("SCRAM-SHA-256", "looker") {
            command.args(["-X", &property]);
        }
        let output = command.output().expect("velo runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        // Nothing is produced any more, which may be too little to give advice on: that is its code 3.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{args:?}: {stderr}");
        assert!(!stderr.contains("Authorization"), "{args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(velo(&["dlq", "show", &job.dlq]).contains("10 "));
    let sql = job.sql_path().display().to_string();
    velo(&["run", &sql, "--dry-run", "--until-end", "--value-format", "json"]);
    let advice = velo(&["advise", "--topic", &job.source, "--budget", "10s", "--sample", "2s", "--json"]);
    let advice: serde_json::Value = serde_json::from_str(&advice).expect("json");
    println!("{advice}");
    assert_eq!(count(&broker, &job.sink), 990);
}

#[test]
fn what_is_wrong_with_a_connection_is_said_at_once() {
    let _busy = busy();
    let secured = secured();
    let broker = secured.broker();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let with = |property: &str, mut properties: Vec<String>| {
        properties.push(property.to_owned());
        properties
    };
    let good = || secured.login("SCRAM-SHA-512", "user");
    let other = format!("ssl.ca.location={}", secured.certificate("other-ca.pem"));
    let sasl = &secured.addresses["sasl_ssl"];
    for (address, properties, part) in [
        (sasl, with(&other, good()), "not signed by a CA in ssl.ca.location"),
        (&secured.addresses["expired"], good(), "the broker's certificate has expired"),
        (sasl, with("sasl.password=wrong-secret", good()), "invalid credentials"),
        (sasl, with("ssl.ca.location=/nowhere.pem", good()), "there is no file '/nowhere.pem'"),
    ] {
        let output = run_as(&job, address, &properties).output().expect("velo runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        println!("{stderr}");
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(part) && !stderr.contains("-secret"), "{stderr}");
    }
}

#[test]
fn a_quota_is_noticed() {
    let _busy = busy();
    let secured = secured();
    let broker = secured.broker();
    let load = Load { number: 800, partitions: 8, bytes: 500, poison_every: u64::MAX };
    let job = Job::new(&broker, load, BUFFERED);
    secured.acl(
        "--add",
        "slow",
        &["--topic", "s", "--group", "group", "--resource-pattern-type", "prefixed"],
        "All",
    );
    let quota = ["--alter", "--entity-type", "users", "--entity-name", "slow"];
    secured.tool(
        "kafka.admin.ConfigCommand",
        &[&quota[..], &["--add-config", "consumer_byte_rate=50000"]].concat(),
    );
    let properties = [
        secured.login("SCRAM-SHA-512", "slow"),
        vec!["fetch.message.max.bytes=20000".to_owned(), "statistics.interval.ms=500".to_owned()],
    ]
    .concat();
    let output = run_as(&job, &secured.addresses["sasl_ssl"], &properties).output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("a quota on its user or client id"), "{stderr}");

    // Who only looks stops at once.
    let mut command = Command::new(env!("CARGO_BIN_EXE_velo"));
    command.args(["advise", "--topic", &job.source, "--bootstrap-servers", &secured.addresses["sasl_ssl"]]);
    command.args(["--sample", "2h", "--json"]).current_dir(job.folder());
    for property in &properties {
        command.args(["-X", property]);
    }
    let output = command.output().expect("velo runs");
    let advice: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!((output.status.code(), &advice["refusal"]["reason"]), (Some(3), &"throttled".into()));
}
