//! One run of a job under faults: a seed and what is to go wrong in, the verdict out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use velo_engine::failpoint::Mutant;

use super::member::{Duty, End, Member, last_error};
use super::observer::{Observed, Observer};
use super::oracle::{Evidence, Found, Incident, Offsets, OnBad, Sample, Verdict};
use super::source::{Part, Source, produce};
use super::workload::{Refusal, Workload};
use crate::broker::Broker;
use crate::run::program;

/// How a job is configured.
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub strategy: &'static str,
    pub on_bad: OnBad,
    pub retries: bool,
    pub members: usize,
    pub exactly_once: bool,
    /// The time that a record takes.
    pub cost: &'static str,
    /// True if a member keeps its partitions while it is away for a short time.
    pub is_static: bool,
    /// True if the job goes on after records that were deleted before it could read them.
    pub accepts_loss: bool,
}

/// Every strategy, with batches that are small beside the input.
const STRATEGIES: [&str; 6] = [
    "'batch.strategy' = 'fixed_size', 'batch.size' = '200'",
    "'batch.strategy' = 'time_window', 'batch.window' = '20ms'",
    "'batch.strategy' = 'memory_based', 'batch.memory_size' = '50000'",
    "'batch.strategy' = 'adaptive_size', 'batch.min_size' = '10', 'batch.adaptive_max_size' = '500'",
    "'batch.strategy' = 'low_latency', 'batch.low_latency_max_size' = '10'",
    "'batch.strategy' = 'mega_batch', 'batch.mega_batch_size' = '10000', 'batch.timeout' = '100ms'",
];

impl Plan {
    /// Draws a configuration.
    pub(crate) fn draw(random: &mut Rng) -> Self {
        Self {
            strategy: STRATEGIES[random.usize(..STRATEGIES.len())],
            on_bad: if random.bool() { OnBad::Skip } else { OnBad::DeadLetter },
            retries: random.bool(),
            members: if random.bool() { 1 } else { 3 },
            exactly_once: random.bool(),
            cost: "0ms",
            is_static: true,
            accepts_loss: false,
        }
    }

    fn settings(self) -> String {
        let failure = match (self.on_bad, self.retries) {
            (OnBad::Skip, false) => "'failure_strategy' = 'LogAndContinue'".to_owned(),
            (OnBad::DeadLetter, false) => "'failure_strategy' = 'SendToDLQ'".to_owned(),
            (on_bad, true) => format!(
                "'failure_strategy' = 'RetryWithBackoff', 'max_retries' = '1', 'retry_backoff' = '1ms', \
                 'on_exhausted' = '{}'",
                if on_bad == OnBad::Skip { "LogAndContinue" } else { "SendToDLQ" }
            ),
        };
        // Batches that are processed in parallel have transactions of their own.
        let transactions = match self.exactly_once {
            true if self.strategy.contains("mega_batch") => {
                ", 'batch.parallel' = 'false', 'transaction.batches' = '3'"
            }
            true => ", 'transaction.batches' = '3'",
            false => "",
        };
        format!("{}, {failure}{transactions}", self.strategy)
    }
}

/// The brokers of a run, and how its processes find them.
pub(crate) struct Site<'a> {
    /// Where the test itself reads and writes.
    pub broker: &'a Broker,
    /// The address that the processes are given.
    pub address: String,
    /// Properties of the processes' clients, such as `sasl.username=runner`.
    pub properties: Vec<String>,
    /// A fault to build into the processes.
    pub mutant: Option<Mutant>,
}

impl<'a> Site<'a> {
    pub(crate) fn new(broker: &'a Broker, mutant: Option<Mutant>) -> Self {
        Self { address: broker.address(), properties: Vec::new(), broker, mutant }
    }
}

/// A run.
pub(crate) struct Trial<'a> {
    site: &'a Site<'a>,
    plan: Plan,
    workload: Workload,
    source: Source,
    /// True if the topic loses records while the job runs.
    loses_records: bool,
    /// True if the source has as many partitions as the sink all the time.
    keeps_partitions: bool,
    folder: PathBuf,
    observed: Observed,
    sampler: Observer,
    /// The program that processes batches, if velo does not do it itself.
    program: Option<(String, Duration)>,
    environment: Vec<(String, String)>,
    incidents: Vec<(Instant, Incident)>,
    /// What was wrong before the end.
    broken: Vec<String>,
    /// The number of offsets without a record in all reports: gaps and lost records.
    reported_gone: u64,
    began: Instant,
}

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub verdict: Verdict,
    /// The longest time from an incident until offsets were committed again.
    pub recovery: Duration,
    /// Where the logs are, if a promise was broken.
    pub folder: PathBuf,
}

/// The folder of the files of all runs.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults")
}

/// A run that is not finished after this time is stuck.
const PATIENCE: Duration = Duration::from_mins(3);

impl<'a> Trial<'a> {
    /// Creates the topics, fills the source and begins to observe.
    pub(crate) fn new(site: &'a Site<'a>, plan: Plan, workload: Workload) -> Self {
        Self::with_part(site, plan, workload, &Part::whole(&workload))
    }

    /// Like [`new`](Self::new), but the source has only a part of the records and of the partitions.
    pub(crate) fn with_part(site: &'a Site<'a>, plan: Plan, workload: Workload, part: &Part) -> Self {
        let broker = site.broker;
        let source = broker.topic_with("faults", part.partitions.end, workload.source);
        let sink = format!("{source}_out");
        let settings = workload.refusal.map_or(&[][..], Refusal::sink_settings);
        broker.create_with(&sink, workload.partitions, settings);
        let dlq = format!("{source}.dlq");
        broker.create(&dlq, workload.partitions);
        produce(broker, &source, &workload, part);
        let at = Source::read(broker, &source, &workload);
        let folder = folder().join(&source);
        std::fs::create_dir_all(&folder).expect("a folder");
        let sql = format!("CREATE STREAM {sink} AS SELECT * FROM {source} WITH ({});", plan.settings());
        std::fs::write(folder.join("job.sql"), sql).expect("written");
        std::fs::write(folder.join("plan.txt"), format!("{plan:?}\n{workload:?}\n")).expect("written");
        let observed = Observed {
            address: broker.address(),
            group: format!("group-{source}"),
            source,
            sink,
            dlq,
            partitions: workload.partitions,
        };
        let sampler = observed.clone().observe();
        Self {
            site,
            plan,
            workload,
            source: at,
            loses_records: false,
            keeps_partitions: part.partitions.end == workload.partitions,
            folder,
            observed,
            sampler,
            program: None,
            environment: Vec::new(),
            incidents: Vec::new(),
            broken: Vec::new(),
            reported_gone: 0,
            began: Instant::now(),
        }
    }

    /// A job whose records take a millisecond each, so that something can happen to it.
    pub(crate) fn of_slow_records(site: &'a Site<'a>, seed: u64, random: &mut Rng) -> Self {
        let plan = Plan { cost: "1ms/record", is_static: random.bool(), ..Plan::draw(random) };
        Self::new(site, plan, Workload::new(seed, 12_000, 4))
    }

    /// Sets environment variables of the processes.
    pub(crate) fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// Processes batches by an external program that has so much time for each.
    pub(crate) fn with_program(mut self, program: String, timeout: Duration) -> Self {
        self.program = Some((program, timeout));
        self
    }

    /// The topics and the group of the run.
    pub(crate) fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Where the records are in the source.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Adds a part to the source, whose partitions it has.
    pub(crate) fn produce(&mut self, part: &Part) {
        produce(self.site.broker, &self.observed.source, &self.workload, part);
        self.source_changed();
    }

    /// Notes that the topic loses some of its records from now on.
    pub(crate) fn loses_records(&mut self) {
        self.loses_records = true;
    }

    /// Lets the processes that start from now on go on after records that were deleted.
    pub(crate) fn accept_loss(&mut self) {
        self.plan.accepts_loss = true;
    }

    /// Notes that the source has been added to.
    pub(crate) fn source_changed(&mut self) {
        self.source.update(self.site.broker, &self.observed.source, &self.workload);
    }

    /// The folder of the run's files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a process of the job that reads until the end, with a place armed.
    pub(crate) fn start(&self, number: usize, armed: Option<&str>) -> Member {
        let began = Instant::now();
        let until = loop {
            if let Some(ends) = self.observed.source_ends() {
                break ends;
            }
            assert!(began.elapsed() < PATIENCE, "no broker tells where the source ends");
        };
        let duty = Duty { observed: self.observed.clone(), until };
        self.start_with(number, armed, Some(duty))
    }

    /// Starts all processes of the job.
    pub(crate) fn start_all(&self) -> Vec<Member> {
        (0..self.plan.members).map(|number| self.start(number, None)).collect()
    }

    /// Starts a process of the job that reads until it is stopped.
    pub(crate) fn start_endless(&self, number: usize) -> Member {
        self.start_with(number, None, None)
    }

    fn start_with(&self, number: usize, armed: Option<&str>, duty: Option<Duty>) -> Member {
        let mut command = program();
        let group = &self.observed.group;
        command
            .arg("run")
            .arg(self.folder.join("job.sql"))
            .args(["--bootstrap-servers", &self.site.address, "--group-id", group])
            .args(duty.as_ref().map(|_| "--until-end"))
            .args(["--value-format", "json", "--log-level", "info", "--report"])
            .arg(self.folder.join(format!("report{number}.json")))
            .args(["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=1000"]);
        for property in &self.site.properties {
            command.args(["-X", property]);
        }
        // Every other seed, so that both fetchers see every fault.
        let fetcher = if self.workload.seed % 2 == 1 { "native" } else { "librdkafka" };
        command.args(["--fetcher", fetcher]);
        if self.plan.accepts_loss {
            command.args(["--on-data-loss", "continue"]);
        }
        match &self.program {
            Some((program, timeout)) => {
                command.args(["--exec", program, "--exec-timeout", &format!("{}s", timeout.as_secs())])
            }
            None => command.args(["--cost", self.plan.cost]),
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if self.plan.is_static {
            command.args(["--group-instance-id", &format!("{number}")]);
        }
        if self.plan.exactly_once {
            command.args(["--exactly-once", "--transactional-id", &format!("{group}-{number}")]);
        }
        let mutant = self.site.mutant.map(|mutant| format!("{}=return", mutant.name()));
        let armed: Vec<_> = armed.map(str::to_owned).into_iter().chain(mutant).collect();
        if !armed.is_empty() {
            command.env("FAILPOINTS", armed.join(";"));
        }
        Member::start(number, duty, command, self.folder.join(format!("member{number}.log")))
    }

    /// Notes that a process has died, is suspended, or loses its brokers or partitions: what is not committed is read
    /// again.
    pub(crate) fn incident(&mut self) {
        let began = Instant::now();
        let incident = loop {
            // In this order: what is written again comes later.
            let written = self.observed.written();
            if let Some((began, committed)) = written.zip(self.observed.committed()) {
                break Incident { committed, began, over: None };
            }
            assert!(began.elapsed() < PATIENCE, "no broker tells what was committed");
        };
        self.incidents.push((Instant::now(), incident));
    }

    /// Returns the committed offsets, if the brokers answer.
    pub(crate) fn committed(&self) -> Option<Offsets> {
        self.observed.committed()
    }

    /// Waits until the sum of the committed offsets is above a number. Returns false if no process runs any more. A job
    /// that commits nothing for too long has broken a promise.
    pub(crate) fn wait_for_commits(&mut self, above: i64, members: &mut [Member]) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.committed().is_some_and(|committed| committed.values().sum::<i64>() > above) {
                return true;
            }
            if members.iter_mut().all(|member| member.wait(Duration::ZERO).is_some()) {
                return false;
            }
        }
        self.broken.push(format!("nothing was committed after {above} within {PATIENCE:?}"));
        false
    }

    /// Waits until a number of offsets more is committed, as [`wait_for_commits`](Self::wait_for_commits) does.
    pub(crate) fn wait_for_more(&mut self, more: i64, members: &mut [Member]) -> bool {
        let committed: i64 = self.committed().map_or(0, |committed| committed.values().sum());
        self.wait_for_commits(committed + more, members)
    }

    /// Disturbs a job so many times, each time after it has committed more. What was not committed before and after a
    /// disturbance may be written again.
    pub(crate) fn disturb(
        &mut self,
        times: u32,
        members: &mut [Member],
        random: &mut Rng,
        mut disturbance: impl FnMut(&mut Rng),
    ) {
        for _ in 0..times {
            if !self.wait_for_more(random.i64(1..1500), members) {
                break;
            }
            self.incident();
            disturbance(random);
            self.incident();
        }
    }

    /// Stops processes that read until they are stopped, once everything is committed.
    pub(crate) fn stop_at_end(&mut self, members: &mut [Member]) {
        let all = self.source.ends.values().sum::<i64>() - 1;
        self.wait_for_commits(all, members);
        for member in members.iter() {
            member.signal("-TERM");
        }
        self.all_end_well(members);
    }

    /// Notes the end of a process. Only one for which everything is done may end with 0.
    pub(crate) fn ended(&mut self, member: &mut Member) -> Option<i32> {
        let number = member.number;
        let Some(End { status, undone }) = member.end(PATIENCE) else {
            self.broken.push(format!("member {number} has not ended within {PATIENCE:?}"));
            return None;
        };
        if let Some(undone) = undone {
            self.broken.push(format!("member {number} ended with 0: {undone}"));
        }
        status.code()
    }

    /// Waits until every process has ended, each with everything done.
    pub(crate) fn all_end_well(&mut self, members: &mut [Member]) {
        self.all_end(members, |_, _| false);
    }

    /// Waits until every process has ended, each with everything done, or because the group has replaced it: a static
    /// member whose answer to a request to join is lost is fenced by its next request.
    pub(crate) fn all_end_well_or_are_replaced(&mut self, members: &mut [Member]) {
        let words = self.replaced();
        self.all_end_well_or_say(members, words);
    }

    /// Like [`all_end_well_or_are_replaced`](Self::all_end_well_or_are_replaced). With exactly-once, the processes may also
    /// have been without brokers for longer than a transaction may be open, if they have run for that long: the next
    /// start continues from the last commit.
    pub(crate) fn all_end_well_or_outlast_a_transaction(&mut self, members: &mut [Member]) {
        const TRANSACTION: Duration = Duration::from_mins(1);
        let may = self.plan.exactly_once && self.began.elapsed() >= TRANSACTION;
        let outlasted = may.then_some("longer than transaction.timeout.ms");
        let words: Vec<_> = self.replaced().iter().copied().chain(outlasted).collect();
        self.all_end_well_or_say(members, &words);
    }

    /// What a process says that was replaced.
    fn replaced(&self) -> &'static [&'static str] {
        if self.plan.is_static { &["uses the same --group-instance-id"] } else { &[] }
    }

    /// Waits until every process has ended, each with everything done, or with an error that has one of these words.
    pub(crate) fn all_end_well_or_say(&mut self, members: &mut [Member], words: &[&str]) {
        self.all_end(members, |code, error| {
            code == Some(1) && words.iter().any(|word| error.is_some_and(|error| error.contains(word)))
        });
    }

    /// Waits until every process has ended, each with everything done, or because it was stopped.
    pub(crate) fn all_end_or_are_stopped(&mut self, members: &mut [Member]) {
        self.all_end_well_or_say(members, &["the job was stopped before the end of the topic"]);
    }

    /// Waits until every process has ended. `is_excused` says whether an exit code other than 0 is, by the last error.
    fn all_end(&mut self, members: &mut [Member], is_excused: impl Fn(Option<i32>, Option<&str>) -> bool) {
        for member in members {
            let code = self.ended(member);
            let said = member.said();
            if code != Some(0) && !is_excused(code, last_error(&said)) {
                let last = said.lines().rev().take(3).collect::<Vec<_>>().join(" | ");
                self.broken.push(format!("member {} ended with {code:?}: {last}", member.number));
            }
            self.check_report(member.number, code == Some(0));
        }
    }

    pub(crate) fn break_promise(&mut self, what: String) {
        self.broken.push(what);
    }

    /// Runs what is left without faults, and returns the verdict on everything.
    pub(crate) fn finish(mut self) -> Outcome {
        let mut members = self.start_all();
        self.all_end_well(&mut members);
        drop(members);
        self.verdict()
    }

    /// The report of a process that has ended well adds up.
    fn check_report(&mut self, number: usize, is_due: bool) {
        let path = self.folder.join(format!("report{number}.json"));
        let Ok(text) = std::fs::read(&path) else {
            if is_due {
                self.broken.push(format!("member {number} has ended with 0 and left no report"));
            }
            return;
        };
        // The next process of this number writes its own.
        let _ = std::fs::rename(&path, self.folder.join(format!("report{number}.read.json")));
        let Ok(report) = serde_json::from_slice::<serde_json::Value>(&text) else {
            return self.broken.push(format!("the report of member {number} is no JSON"));
        };
        let count = |name: &str| report["ledger"][name].as_u64().unwrap_or(u64::MAX);
        let states = ["ok", "skipped", "dlq", "failed", "uncommitted"].map(count);
        if states.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count)) != Some(count("delivered")) {
            self.broken.push(format!("the ledger of member {number} does not add up: {}", report["ledger"]));
        }
        self.reported_gone += ["lost", "gaps"].map(count).iter().sum::<u64>();
    }

    /// Reads everything and returns the verdict.
    pub(crate) fn verdict(mut self) -> Outcome {
        if self.loses_records {
            self.source_changed();
        }
        let samples = self.sampler.end();
        let recovery = recovery(&self.incidents, &samples);
        let committed = self.observed.committed_at_last().expect("the brokers answer");
        let evidence = Evidence {
            workload: self.workload,
            source: self.source,
            keeps_partitions: self.keeps_partitions,
            on_bad: self.plan.on_bad,
            exactly_once: self.plan.exactly_once,
            // Records that were under way when an earlier one was refused come before it: see docs/operations.md.
            is_ordered: self.workload.refusal.is_none() || self.plan.exactly_once,
            sink: read_all(self.site.broker, &self.observed.sink),
            dlq: read_all(self.site.broker, &self.observed.dlq)
                .into_iter()
                .filter(|found| !is_receipt(found))
                .collect(),
            incidents: self.incidents.into_iter().map(|incident| limited(incident, &samples)).collect(),
            samples: samples.into_iter().map(|(_, sample)| sample).collect(),
            committed,
        };
        let mut verdict = evidence.verdict();
        verdict.broken.splice(0..0, self.broken);
        if verdict.gone > self.reported_gone {
            let Verdict { gone, .. } = verdict;
            let reported = self.reported_gone;
            verdict.broken.push(format!("{gone} records are missing, and the reports have {reported}"));
        }
        if verdict.broken.is_empty() {
            // Only the logs of what went wrong are kept.
            let _ = std::fs::remove_dir_all(&self.folder);
        } else {
            let _ = std::fs::write(self.folder.join("verdict.txt"), format!("{:#?}", verdict.broken));
        }
        Outcome { verdict, recovery, folder: self.folder }
    }
}

/// True for a record that a replay has written into the dead letter queue.
fn is_receipt(found: &Found) -> bool {
    found.headers.iter().any(|(name, _)| name == "velo.replay.receipt")
}

/// What was under way at an incident has been written this long after it.
const UNDER_WAY: Duration = Duration::from_secs(20);

/// Adds the ends of the topics some time after an incident.
fn limited((at, incident): (Instant, Incident), samples: &[(Instant, Sample)]) -> Incident {
    let later = samples.iter().find(|(time, _)| *time >= at + UNDER_WAY);
    let over = later.map(|(_, sample)| [sample.sink_ends.clone(), sample.dlq_ends.clone()]);
    Incident { over, ..incident }
}

/// Returns the longest time from an incident until more was committed.
fn recovery(incidents: &[(Instant, Incident)], samples: &[(Instant, Sample)]) -> Duration {
    let sum = |offsets: &Offsets| offsets.values().sum::<i64>();
    let time = |(at, incident): &(Instant, Incident)| {
        let is_more = |sample: &Sample| sum(&sample.committed) > sum(&incident.committed);
        let next = samples.iter().find(|(time, sample)| time > at && is_more(sample));
        next.map(|(time, _)| time.duration_since(*at))
    };
    incidents.iter().filter_map(time).max().unwrap_or_default()
}

/// Reads a topic up to its end, without the records of aborted transactions.
pub(crate) fn read_all(broker: &Broker, topic: &str) -> Vec<Found> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", "faults-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .expect("a consumer");
    let partitions = broker.reader().partitions(topic).expect("partitions");
    let mut open: Vec<_> = partitions.iter().map(|partition| partition.partition).collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &open {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assignment).expect("assigned");
    let mut all = Vec::new();
    while !open.is_empty() {
        let message = match consumer.poll(Duration::from_mins(2)).expect("a record in time") {
            Ok(message) => message,
            Err(KafkaError::PartitionEOF(partition)) => {
                open.retain(|other| *other != partition);
                continue;
            }
            Err(error) => panic!("{topic}: {error}"),
        };
        let headers = message
            .headers()
            .map(|headers| headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect());
        all.push(Found {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            timestamp_ms: message.timestamp().to_millis(),
        });
    }
    all
}
