//! Brokers for tests: one real Kafka for the whole binary, embedded ones as needed.
//!
//! The real one is started by `scripts/kafka run`, which ends with the pipe that this process holds,
//! however the process ends. `VELO_TEST_BOOTSTRAP_SERVERS` points the tests at another one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use velo_engine::kafka::{ClientSettings, EmbeddedBroker, TopicReader, ensure_topic};
use velo_engine::waker::Waker;

/// A broker to test with.
pub(crate) enum Broker {
    Real(&'static RealKafka),
    Embedded(EmbeddedBroker),
    /// Real ones that somebody else keeps, by their addresses.
    At(String),
}

pub(crate) struct RealKafka {
    address: String,
    /// The script and its pipe: while they are held, the broker runs.
    _script: Option<(Child, ChildStdin)>,
}

static MACHINE: RwLock<()> = RwLock::new(());

/// Held by tests that keep the machine busy: they may run side by side.
pub(crate) fn busy() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by tests that measure: they run alone.
pub(crate) fn quiet() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// The checkout's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// The real Kafka of this test binary.
pub(crate) fn real() -> Broker {
    static REAL: OnceLock<RealKafka> = OnceLock::new();
    Broker::Real(REAL.get_or_init(RealKafka::start))
}

/// A new embedded broker.
pub(crate) fn embedded() -> Broker {
    Broker::Embedded(EmbeddedBroker::start().expect("an embedded broker"))
}

impl RealKafka {
    /// One that a script runs, for as long as its pipe is held.
    pub(crate) fn held(address: String, script: Child, stdin: ChildStdin) -> Self {
        Self { address, _script: Some((script, stdin)) }
    }

    fn start() -> Self {
        if let Ok(address) = std::env::var("VELO_TEST_BOOTSTRAP_SERVERS") {
            return Self { address, _script: None };
        }
        let mut script = Command::new(root().join("scripts/kafka"))
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/kafka runs");
        let stdin = script.stdin.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(script.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("ready ").expect("Kafka is ready").to_owned();
        Self::held(address, script, stdin)
    }
}

impl Broker {
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Real(kafka) => kafka.address.clone(),
            Self::Embedded(broker) => broker.bootstrap_servers(),
            Self::At(address) => address.clone(),
        }
    }

    pub(crate) fn settings(&self) -> ClientSettings {
        ClientSettings::new(self.address(), BTreeMap::new()).expect("no properties")
    }

    pub(crate) fn reader(&self) -> TopicReader {
        TopicReader::connect(&self.settings(), 16 << 20, Waker::default()).expect("a reader")
    }

    /// Creates a topic of a name that no other test has.
    pub(crate) fn topic(&self, stem: &str, partitions: i32) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let topic = format!("{stem}_{}_{number}", std::process::id());
        self.create(&topic, partitions);
        topic
    }

    /// Like [`topic`](Self::topic), with settings that the embedded broker does not know.
    pub(crate) fn topic_with(&self, stem: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let topic = format!("{stem}_{}_with_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.create_with(&topic, partitions, settings);
        topic
    }

    pub(crate) fn create_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        const MOST_TRIES: usize = 5;
        let count = usize::try_from(partitions).expect("a count");
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        // A broker that has just started, or has no processor for a while, may be slow to answer or to list the topic.
        for attempt in 1.. {
            match ensure_topic(&self.settings(), &self.reader(), topic, count, &settings) {
                Ok(_) => return,
                Err(error) if attempt < MOST_TRIES && error.to_string().ends_with("try again") => {}
                Err(error) if attempt < MOST_TRIES && error.is_passing() => {}
                Err(error) => panic!("a topic: {error}"),
            }
        }
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        match self {
            Self::Real(_) | Self::At(_) => self.create_with(topic, partitions, &[]),
            Self::Embedded(broker) => broker.create_topic(topic, partitions).expect("a topic"),
        }
    }
}
