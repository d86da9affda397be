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

/// Records of a topic that the job cannot read, whatever it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum MayBeMissing {
    #[default]
    None,
    /// Those before these offsets were deleted.
    Before(Offsets),
    /// Those with a later record of the same key were compacted away.
    Superseded,
}

/// Everything that is known about a job that has ended.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub workload: Workload,
    pub source: Source,
    /// Records that the topic itself does not hold any more, so that they may be missing.
    pub may_be_missing: MayBeMissing,
    pub on_bad: OnBad,
    pub exactly_once: bool,
    /// True if the records of a key keep their order.
    pub is_ordered: bool,
    pub sink: Vec<Found>,
    pub dlq: Vec<Found>,
    /// What was committed when a process died or was suspended, lost its partitions or its broker.
    pub incidents: Vec<Offsets>,
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
        let newest = self.newest();
        for (number, traces) in (0..).zip(&traces) {
            let record = self.workload.record(number);
            let may_be_missing = self.may_be_missing(number, &record, &newest);
            self.check_record(number, &record, traces, may_be_missing, &mut verdict, &mut broken);
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

    /// Returns the newest record of each key in each partition.
    fn newest(&self) -> HashMap<(i32, Option<Vec<u8>>), u64> {
        let named = |number| {
            let record = self.workload.record(number);
            ((record.partition, record.key), number)
        };
        (0..self.workload.records).map(named).collect()
    }

    fn may_be_missing(
        &self,
        number: u64,
        record: &Record,
        newest: &HashMap<(i32, Option<Vec<u8>>), u64>,
    ) -> bool {
        match &self.may_be_missing {
            MayBeMissing::None => false,
            MayBeMissing::Before(offsets) => {
                offsets.get(&record.partition).is_some_and(|low| self.source.offset(number) < *low)
            }
            MayBeMissing::Superseded => newest[&(record.partition, record.key.clone())] > number,
        }
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
            if let Some(difference) = difference(&record, timestamp_ms, found, is_letter) {
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
        may_be_missing: bool,
        verdict: &mut Verdict,
        broken: &mut Vec<String>,
    ) {
        let (wanted, other) =
            if self.is_dead(record) { (&traces.dlq, &traces.sink) } else { (&traces.sink, &traces.dlq) };
        if !other.is_empty() {
            broken.push(format!("record {number} ({:?}) is where it does not belong", record.kind));
        }
        let is_skipped = record.kind != Kind::Good && self.on_bad == OnBad::Skip;
        if may_be_missing && wanted.is_empty() {
            verdict.gone += u64::from(!is_skipped);
        } else if is_skipped != wanted.is_empty() {
            verdict.lost += u64::from(!is_skipped);
            broken.push(format!("record {number} ({:?}) was found {} times", record.kind, wanted.len()));
        }
        if wanted.len() > 1 {
            verdict.twice += 1;
        }
        // What was committed when the job died is not read again.
        let offset = self.source.offset(number);
        let is_open = |committed: &&Offsets| committed.get(&record.partition).is_none_or(|at| *at <= offset);
        let most = if self.exactly_once { 1 } else { 1 + self.incidents.iter().filter(is_open).count() };
        if wanted.len() > most {
            let (times, partition) = (wanted.len(), record.partition);
            broken.push(format!(
                "record {number} ([{partition}]@{offset}) was written {times} times, at most {most} can be explained"
            ));
        }
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
        let newest = self.newest();
        for (number, traces) in (0..).zip(traces) {
            let record = self.workload.record(number);
            let is_skipped = record.kind != Kind::Good && self.on_bad == OnBad::Skip;
            if is_skipped || self.may_be_missing(number, &record, &newest) {
                continue;
            }
            let (offset, is_dead) = (self.source.offset(number), self.is_dead(&record));
            let wanted = if is_dead { &traces.dlq } else { &traces.sink };
            let is_early = |sample: &&Sample| {
                let ends = if is_dead { &sample.dlq_ends } else { &sample.sink_ends };
                let was_there = |(partition, at): &(i32, i64)| ends.get(partition).is_some_and(|end| at < end);
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
