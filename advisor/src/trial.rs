//! What was measured, line by line in a file: first the workload, then each trial as it ends.

use std::io::{BufRead, Write};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_engine::processor::Synthetic;
use velo_engine::report::Report;

use crate::advice::{Holds, Wishes};
use crate::candidate::Candidate;
use crate::cost::Cost;
use crate::profile::Profile;

/// What a batch costs besides being taken: the job's work and its way to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// The job's own work for a batch.
    pub per_batch_ms: f64,
    /// The job's own work for a record.
    pub per_record_ms: f64,
    /// A batch's way to the sink and back.
    pub sink_ms: f64,
}

impl Work {
    /// From durations.
    #[must_use]
    pub fn new(cost: Synthetic, sink: Duration) -> Self {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self { per_batch_ms: ms(cost.per_batch), per_record_ms: ms(cost.per_record), sink_ms: ms(sink) }
    }

    /// A processor that takes as long.
    #[must_use]
    pub fn synthetic(&self) -> Synthetic {
        let duration = |ms: f64| Duration::from_secs_f64((ms / 1e3).max(0.0));
        Synthetic {
            per_batch: duration(self.per_batch_ms + self.sink_ms),
            per_record: duration(self.per_record_ms),
        }
    }
}

/// What was measured on: a run that goes on from an earlier one's trials must be of the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setup {
    /// The brokers; null where the topic was in the process itself.
    pub bootstrap_servers: Option<String>,
    /// The program that processed, if one did.
    pub exec: Option<String>,
    /// How values were decoded.
    pub value_format: String,
    /// Whether the sink's round trip was measured; else it was given.
    pub sink_was_measured: bool,
}

/// One candidate, once: how much it can do, and how long records wait at their recorded times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// What was tried.
    pub candidate: Candidate,
    /// In which round, from 0: trials of one round saw the same arrivals.
    pub round: u32,
    /// Records settled per second with all of them there at once; null where too few batches ended in time.
    pub capacity_records_per_s: Option<f64>,
    /// At the recorded times; null where it cannot keep up with the mean rate.
    pub replay: Option<Replay>,
    /// Share of the records that failed.
    #[serde(default)]
    pub failed_share: f64,
}

/// A replay at the recorded times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// Records settled per second.
    pub records_per_s: f64,
    /// From the recorded arrival to being settled: the median.
    pub p50_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// Batches completed.
    pub batches: u64,
    /// Records of a batch: the mean.
    pub mean_records: f64,
}

impl Replay {
    /// As a run of the engine, real or simulated, reports it.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        Self {
            records_per_s: report.records_per_s,
            p50_ms: report.latency_ms.p50,
            p99_ms: report.latency_ms.p99,
            batches: report.batches.count,
            mean_records: report.ledger.delivered as f64 / (report.batches.count as f64).max(1.0),
        }
    }
}

/// Everything that advice is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What was sampled.
    pub header: Header,
    /// What every candidate would do, in virtual time.
    pub predicted: Vec<Trial>,
    /// What the best of them did.
    pub trials: Vec<Trial>,
    /// How far the rate may go before what was recommended ends.
    pub holds: Option<Holds>,
    /// Whether the run that measured it came to its end.
    pub is_complete: bool,
}

/// The first line of a file of trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Of this format.
    pub version: u32,
    /// The topic.
    pub topic: String,
    /// What was measured on.
    pub setup: Setup,
    /// What was wanted.
    pub wishes: Wishes,
    /// The job's cap on the records of a batch, which candidates keep to; null where it has none.
    pub max_batch_records: Option<u64>,
    /// Its workload.
    pub profile: Profile,
    /// What was asked for: the work beside the processor's own.
    pub work: Work,
    /// What a batch costs, as it was measured.
    pub cost: Cost,
    /// What runs now, where that is known.
    pub current: Option<Candidate>,
}

impl Header {
    /// Whether a candidate keeps to the job's cap.
    #[must_use]
    pub fn allows(&self, candidate: &Candidate) -> bool {
        self.max_batch_records.is_none_or(|cap| candidate.plan(None).batch_records.max <= cap)
    }

    /// What a batch of so many records takes a candidate.
    #[must_use]
    pub fn cost_of(&self, candidate: &Candidate, records: u64) -> Duration {
        if candidate.is_parallel() { self.cost.of_parallel(records) } else { self.cost.of(records) }
    }
}

/// The version of the format.
pub const VERSION: u32 = 3;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Sample(Box<Header>),
    Predicted(Trial),
    Trial(Trial),
    Holds(Holds),
    Complete(bool),
}

/// A file of trials that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A line is not one of ours.
    #[error("line {number}: {error}")]
    Line {
        /// From 1.
        number: usize,
        /// Why.
        error: serde_json::Error,
    },
    /// There is no first line with the sample.
    #[error("the first line is not a sample: this is no file of trials")]
    NoSample,
    /// Another version wrote it.
    #[error("the file has version {0}; this program reads version {VERSION}")]
    Version(u64),
}

impl Evidence {
    /// Forgets the last round, which may have been interrupted: its other trials would see other arrivals.
    pub fn drop_last_round(&mut self) {
        let last = self.trials.iter().map(|trial| trial.round).max();
        self.trials.retain(|trial| Some(trial.round) != last);
    }

    /// Leaves out what the job's cap does not allow, except what runs now.
    pub fn keep_to_the_cap(&mut self) {
        let header = &self.header;
        let stays = |trial: &Trial| {
            header.current.as_ref() == Some(&trial.candidate) || header.allows(&trial.candidate)
        };
        self.predicted.retain(stays);
        self.trials.retain(stays);
    }

    /// Where nothing has been tried yet.
    #[must_use]
    pub fn predicted(header: Header, predicted: Vec<Trial>) -> Self {
        Self { header, predicted, trials: Vec::new(), holds: None, is_complete: false }
    }

    /// Reads a file of trials. A last line that was not written to its end does not count.
    ///
    /// # Errors
    /// Where a line cannot be read, with its number.
    pub fn read(mut lines: impl BufRead) -> Result<Self, EvidenceError> {
        let mut header = None;
        let (mut predicted, mut trials, mut holds, mut is_complete) = (Vec::new(), Vec::new(), None, false);
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                break;
            }
            if line.trim().is_empty() {
                continue;
            }
            let wrong = |error| EvidenceError::Line { number, error };
            if header.is_none() {
                check_version(&serde_json::from_str(&line).map_err(wrong)?)?;
            }
            let read = serde_json::from_str(&line);
            if header.is_some() && read.is_err() && !line.ends_with('\n') {
                break;
            }
            match read.map_err(wrong)? {
                Line::Sample(found) => header = Some(*found),
                Line::Predicted(trial) if header.is_some() => predicted.push(trial),
                Line::Trial(trial) if header.is_some() => trials.push(trial),
                Line::Holds(found) if header.is_some() => holds = Some(found),
                Line::Complete(complete) if header.is_some() => is_complete = complete,
                Line::Predicted(_) | Line::Trial(_) | Line::Holds(_) | Line::Complete(_) => {
                    return Err(EvidenceError::NoSample);
                }
            }
        }
        let header = header.ok_or(EvidenceError::NoSample)?;
        Ok(Self { header, predicted, trials, holds, is_complete })
    }
}

/// Before a first line is read by its fields, which other versions have others of.
fn check_version(first: &serde_json::Value) -> Result<(), EvidenceError> {
    let version =
        first.get("sample").and_then(|sample| sample.get("version")).and_then(serde_json::Value::as_u64);
    match version.ok_or(EvidenceError::NoSample)? {
        version if version == u64::from(VERSION) => Ok(()),
        version => Err(EvidenceError::Version(version)),
    }
}

/// Writes the first line.
///
/// # Errors
/// Where writing fails.
pub fn write_header(out: &mut dyn Write, header: &Header) -> std::io::Result<()> {
    write_line(out, &Line::Sample(Box::new(header.clone())))
}

/// Writes what a candidate would do.
///
/// # Errors
/// Where writing fails.
pub fn write_predicted(out: &mut dyn Write, trial: &Trial) -> std::io::Result<()> {
    write_line(out, &Line::Predicted(trial.clone()))
}

/// Writes a trial's line and makes sure that it is on its way before the next trial begins.
///
/// # Errors
/// Where writing fails.
pub fn write_trial(out: &mut dyn Write, trial: &Trial) -> std::io::Result<()> {
    write_line(out, &Line::Trial(trial.clone()))
}

/// Writes how far a recommendation holds.
///
/// # Errors
/// Where writing fails.
pub fn write_holds(out: &mut dyn Write, holds: &Holds) -> std::io::Result<()> {
    write_line(out, &Line::Holds(holds.clone()))
}

/// Writes that the run has come to its end.
///
/// # Errors
/// Where writing fails.
pub fn write_complete(out: &mut dyn Write) -> std::io::Result<()> {
    write_line(out, &Line::Complete(true))
}

fn write_line(out: &mut dyn Write, line: &Line) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    out.write_all(&bytes)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::Goal;

    fn evidence() -> Evidence {
        let recording = [velo_engine::source::replay::Recorded::default()];
        let profile = Profile::of(&recording, Duration::from_secs(1)).unwrap();
        let work = Work::new(Synthetic::default(), Duration::from_millis(3));
        let cost = Cost::line(Duration::from_millis(1), Duration::ZERO);
        let current = Some(Candidate::defaults());
        let wishes = Wishes { goal: Goal::Latency, p99: Some(Duration::from_millis(50)), memory_bytes: None };
        let setup = Setup { exec: Some("cat".into()), ..Setup::default() };
        let topic = "t".into();
        let header = Header {
            version: VERSION,
            topic,
            setup,
            wishes,
            max_batch_records: None,
            profile,
            work,
            cost,
            current,
        };
        let replay =
            Some(Replay { records_per_s: 1.0, p50_ms: 2.0, p99_ms: 3.0, batches: 4, mean_records: 5.0 });
        let trial = |capacity| Trial {
            candidate: Candidate::defaults(),
            round: 0,
            capacity_records_per_s: Some(capacity),
            replay,
            failed_share: 0.0,
        };
        let holds =
            Some(Holds { candidate: Candidate::defaults(), wishes: header.wishes, from: None, until: None });
        Evidence { header, predicted: vec![trial(5.0)], trials: vec![trial(4.0)], holds, is_complete: true }
    }

    #[test]
    fn what_is_written_reads_back() {
        let evidence = evidence();
        let mut file = Vec::new();
        write_header(&mut file, &evidence.header).unwrap();
        write_predicted(&mut file, &evidence.predicted[0]).unwrap();
        write_trial(&mut file, &evidence.trials[0]).unwrap();
        write_holds(&mut file, evidence.holds.as_ref().unwrap()).unwrap();
        write_complete(&mut file).unwrap();
        assert_eq!(Evidence::read(file.as_slice()).unwrap(), evidence);
    }

    #[test]
    fn a_file_that_is_none_says_where() {
        assert!(matches!(Evidence::read(b"".as_slice()), Err(EvidenceError::NoSample)));
        let error = Evidence::read(b"\nnonsense".as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("line 2"), "{error}");
    }
}
