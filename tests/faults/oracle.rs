//! Decides whether a job has kept its promises: what was produced, what is in sink and dead letter queue, what was
//! committed and when in; what is lost, what is there twice, and every promise that was broken out.
//!
//! Nothing here reads from Kafka or knows how the job works.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::source::Source;
use super::workload::{Headers, Kind, Record, Workload};

/// A record of the sink or of the dead letter queue.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    pub timestamp_ms: Option<i64>,
}

/// Offsets by partition.
pub(crate) type Offsets = BTreeMap<i32, i64>;

/// What an observer saw at one time: first the offsets that were committed, then the ends of the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub committed: Offsets,
    pub sink_ends: Offsets,
    pub dlq_ends: Offsets,
}

/// What a job does with records that it cannot process or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnBad {
    Skip,
    DeadLetter,
}

/// A process that died, was suspended, or lost its partitions or its brokers.
#[derive(Debug, Clone)]
pub(crate) struct Incident {
    /// The committed offsets. Records from these offsets on may be written again.
    pub committed: Offsets,
    /// The ends of the sink and of the dead letter queue before the incident. A repeated record has an offset
    /// of at least these.
    pub began: [Offsets; 2],
    /// The ends some time after the incident, if they are known. The first copy of a repeated record has a lower offset.
    pub over: Option<[Offsets; 2]>,
}

/// Everything that is known about a job that has ended.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub workload: Workload,
    pub source: Source,
    pub on_bad: OnBad,
    pub exactly_once: bool,
    /// True if the records of a key keep their order.
    pub is_ordered: bool,
    pub sink: Vec<Found>,
    pub dlq: Vec<Found>,
    /// True if a record is written to the partition that it was read from.
    pub keeps_partitions: bool,
    pub incidents: Vec<Incident>,
    pub samples: Vec<Sample>,
    pub committed: Offsets,
}

/// The verdict on one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub records: u64,
    pub lost: u64,
    pub twice: u64,
    /// Records that are missing because the topic does not hold them any more.
    pub gone: u64,
    /// The promises that were broken.
    pub broken: Vec<String>,
}

/// Where a record was found.
#[derive(Debug, Default)]
struct Traces {
    sink: Vec<(i32, i64)>,
    dlq: Vec<(i32, i64)>,
}

impl Evidence {
    /// Returns the verdict on a job that was to do everything and has said that it did.
    pub(crate) fn verdict(&self) -> Verdict {
        let mut broken = Vec::new();
        let traces = self.traces(&mut broken);
        let mut verdict = Verdict { records: self.workload.records, ..Verdict::default() };
        for (number, traces) in (0..).zip(&traces) {
            let record = self.workload.record(number);
            self.check_record(number, &record, traces, &mut verdict, &mut broken);
        }
        if self.is_ordered {
            self.check_order(&mut broken);
        }
        self.check_samples(&traces, &mut broken);
        let ends = &self.source.ends;
        // A transaction's marker takes an offset of its own, and is committed with the records before it.
        if ends.iter().any(|(p, end)| self.committed.get(p) != Some(end)) {
            broken.push(format!("committed {:?} at the end, which ends at {ends:?}", self.committed));
        }
        verdict.broken = summary(broken);
        verdict
    }

    /// Returns what a record becomes.
    fn is_dead(&self, record: &Record) -> bool {
        record.kind != Kind::Good && self.on_bad == OnBad::DeadLetter
    }

    /// Finds every record again and compares it with what was produced.
    fn traces(&self, broken: &mut Vec<String>) -> Vec<Traces> {
        let mut traces: Vec<_> = (0..self.workload.records).map(|_| Traces::default()).collect();
        for (found, is_letter) in
            self.sink.iter().map(|f| (f, false)).chain(self.dlq.iter().map(|f| (f, true)))
        {
            let place = if is_letter { "the dead letter queue" } else { "the sink" };
            let number = Workload::number(&found.headers).filter(|number| *number < self.workload.records);
            let Some(number) = number else {
                broken.push(format!("{place} has a record that was never produced: {found:?}"));
                continue;
            };
            let record = self.workload.record(number);
            let timestamp_ms = self.source.timestamp_ms(number);
            let moved = self.keeps_partitions && found.partition != record.partition;
            let moved = moved.then(|| format!("it is in partition {}", found.partition));
            let difference = moved.or_else(|| difference(&record, timestamp_ms, found, is_letter));
            let difference = difference.or_else(|| self.misnamed(number, &record, found, is_letter));
            if let Some(difference) = difference {
                broken.push(format!("record {number} in {place}: {difference}"));
            }
            let of = &mut traces[usize::try_from(number).expect("small")];
            let of = if is_letter { &mut of.dlq } else { &mut of.sink };
            of.push((found.partition, found.offset));
        }
        traces
    }

    fn check_record(
        &self,
        number: u64,
        record: &Record,
        traces: &Traces,
        verdict: &mut Verdict,
        broken: &mut Vec<String>,
    ) {
        let (wanted, other) =
            if self.is_dead(record) { (&traces.dlq, &traces.sink) } else { (&traces.sink, &traces.dlq) };
        if !other.is_empty() {
            broken.push(format!("record {number} ({:?}) is where it does not belong", record.kind));
        }
        let is_skipped = record.kind != Kind::Good && self.on_bad == OnBad::Skip;
        if !self.source.has(number) && wanted.is_empty() {
            verdict.gone += u64::from(!is_skipped);
        } else if is_skipped != wanted.is_empty() {
            verdict.lost += u64::from(!is_skipped);
            broken.push(format!("record {number} ({:?}) was found {} times", record.kind, wanted.len()));
        }
        if wanted.len() > 1 {
            verdict.twice += 1;
        }
        let explained = self.explained(record, self.source.offset(number), wanted, self.is_dead(record));
        if wanted.len() > 1 + explained {
            let (times, partition, offset) = (wanted.len(), record.partition, self.source.offset(number));
            let most = 1 + explained;
            broken.push(format!(
                "record {number} ([{partition}]@{offset}) was written {times} times, at most {most} can be explained"
            ));
        }
    }

    /// Returns how many of the repetitions of a record can be explained, each by an incident of its own: the record was
    /// not committed then, and was written before it and after it.
    fn explained(&self, record: &Record, offset: i64, places: &[(i32, i64)], is_dead: bool) -> usize {
        if self.exactly_once {
            return 0;
        }
        let mut places = places.to_vec();
        places.sort_by_key(|(_, at)| *at);
        let of = usize::from(is_dead);
        let mut incidents: Vec<_> = self
            .incidents
            .iter()
            .filter(|incident| incident.committed.get(&record.partition).is_none_or(|at| *at <= offset))
            .collect();
        let mut explained = 0;
        for pair in places.windows(2) {
            let [(partition, first), (again_partition, again)] = [pair[0], pair[1]];
            // The order of two copies in different partitions is not known.
            let is_same = partition == again_partition;
            let explains = |incident: &&Incident| {
                let is_before = incident
                    .over
                    .as_ref()
                    .is_none_or(|ends| ends[of].get(&partition).is_none_or(|end| first < *end));
                let is_after = incident.began[of].get(&partition).is_none_or(|end| again >= *end);
                !is_same || is_before && is_after
            };
            if let Some(index) = incidents.iter().position(explains) {
                incidents.remove(index);
                explained += 1;
            }
        }
        explained
    }

    /// Compares the source partition and offset in the headers of a dead letter with those of its record.
    fn misnamed(&self, number: u64, record: &Record, found: &Found, is_letter: bool) -> Option<String> {
        let named = |what: &str| {
            let (_, value) =
                found.headers.iter().rfind(|(name, _)| name == &format!("__connect.errors.{what}"))?;
            std::str::from_utf8(value.as_deref()?).ok()?.parse::<i64>().ok()
        };
        let expected = (Some(i64::from(record.partition)), Some(self.source.offset(number)));
        let found = (named("partition"), named("offset"));
        (is_letter && found != expected).then(|| format!("it names {found:?} instead of {expected:?}"))
    }

    /// The first records of a key are in order, and so are the last ones: whoever reads to the end has the newest.
    fn check_order(&self, broken: &mut Vec<String>) {
        let mut seen = HashSet::new();
        let mut newest: HashMap<&[u8], u64> = HashMap::new();
        let mut last: HashMap<&[u8], u64> = HashMap::new();
        let mut highest: HashMap<&[u8], u64> = HashMap::new();
        for found in &self.sink {
            let (Some(key), Some(number)) =
                (found.key.as_deref().filter(|key| !key.is_empty()), Workload::number(&found.headers))
            else {
                continue;
            };
            if seen.insert(number) {
                let before = newest.insert(key, number);
                if before.is_some_and(|before| before > number) {
                    broken.push(format!("record {number} came after a later one of its key"));
                }
            }
            last.insert(key, number);
            let most = highest.entry(key).or_insert(number);
            *most = number.max(*most);
        }
        let stale = last.iter().filter(|(key, number)| highest[*key] != **number);
        broken.extend(
            stale.map(|(_, number)| format!("record {number} is the last of its key, and is an old one")),
        );
    }

    /// At no time was an offset committed whose record was not written.
    fn check_samples(&self, traces: &[Traces], broken: &mut Vec<String>) {
        for (number, traces) in (0..).zip(traces) {
            let record = self.workload.record(number);
            let is_skipped = record.kind != Kind::Good && self.on_bad == OnBad::Skip;
            if is_skipped || !self.source.has(number) {
                continue;
            }
            let (offset, is_dead) = (self.source.offset(number), self.is_dead(&record));
            let wanted = if is_dead { &traces.dlq } else { &traces.sink };
            let is_early = |sample: &&Sample| {
                let ends = if is_dead { &sample.dlq_ends } else { &sample.sink_ends };
                let was_there =
                    |(partition, at): &(i32, i64)| ends.get(partition).is_some_and(|end| at < end);
                sample.committed.get(&record.partition).is_some_and(|at| *at > offset)
                    && !wanted.iter().any(was_there)
            };
            if self.samples.iter().any(|sample| is_early(&sample)) {
                broken.push(format!("record {number} was committed before it was written"));
            }
        }
    }
}

/// Returns what is different about a record that was found.
pub(crate) fn difference(
    record: &Record,
    timestamp_ms: Option<i64>,
    found: &Found,
    is_letter: bool,
) -> Option<String> {
    let own = |(name, _): &&(String, Option<Vec<u8>>)| {
        !is_letter || !(name.starts_with("__connect.errors.") || name.starts_with("velo."))
    };
    let headers: Headers = found.headers.iter().filter(own).cloned().collect();
    if found.key != record.key {
        return Some(format!("its key is {:?}", found.key));
    }
    if found.value != record.value {
        return Some(format!("its value has {:?} bytes", found.value.as_ref().map(Vec::len)));
    }
    if headers != record.headers {
        return Some(format!("its headers are {headers:?}"));
    }
    let is_on_time = found.timestamp_ms == timestamp_ms;
    (!is_on_time).then(|| format!("its timestamp is {:?}", found.timestamp_ms))
}

/// The first of many, and how many there are.
fn summary(broken: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 10;
    let more = broken.len().saturating_sub(SHOWN);
    let rest = (more > 0).then(|| format!("and {more} more"));
    broken.into_iter().take(SHOWN).chain(rest).collect()
}
