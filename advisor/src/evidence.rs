//! The evidence for an advice, and the trials file that stores it: one JSON line for the sample, then one line per
//! prediction and trial.

use std::io::{BufRead, Write};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;
use crate::cost::Cost;
use crate::objective::Objective;
use crate::profile::Profile;
use crate::trial::{Setup, Trial, Work};
use crate::validity::ValidityRange;

/// Everything that an advice is derived from.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The sample and its workload.
    pub header: Header,
    /// Predictions of all candidates, simulated in virtual time.
    pub predicted: Vec<Trial>,
    /// Trials of the best candidates.
    pub trials: Vec<Trial>,
    /// Range of rates in which the recommendation is valid.
    pub holds: Option<ValidityRange>,
    /// True if the run was completed.
    pub is_complete: bool,
}

/// The first line of a trials file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Version of the format.
    pub version: u32,
    /// Name of the topic.
    pub topic: String,
    /// Environment of the measurements.
    pub setup: Setup,
    /// The objective of the run.
    pub wishes: Objective,
    /// The job's limit on the records per batch, which applies to every candidate; null if there is no limit.
    pub max_batch_records: Option<u64>,
    /// Workload of the topic.
    pub profile: Profile,
    /// Given cost of the job, in addition to the cost of the processor itself.
    pub work: Work,
    /// Measured cost of a batch.
    pub cost: Cost,
    /// Current configuration; null if it is not known.
    pub current: Option<Candidate>,
}

impl Header {
    /// Returns true if the job's limit on the records per batch allows a candidate.
    #[must_use]
    pub fn allows(&self, candidate: &Candidate) -> bool {
        self.max_batch_records.is_none_or(|cap| candidate.plan(None).batch_records.max <= cap)
    }

    /// Returns the time that a candidate takes to process a batch of this many records.
    #[must_use]
    pub fn cost_of(&self, candidate: &Candidate, records: u64) -> Duration {
        if candidate.is_parallel() { self.cost.of_parallel(records) } else { self.cost.of(records) }
    }
}

/// Version of the trials file format.
pub const VERSION: u32 = 3;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Sample(Box<Header>),
    Predicted(Trial),
    Trial(Trial),
    Holds(ValidityRange),
    Complete(bool),
}

/// Error when reading a trials file.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A line is invalid.
    #[error("line {number}: {error}")]
    Line {
        /// Number of the line, from 1.
        number: usize,
        /// Reason why the line is invalid.
        error: serde_json::Error,
    },
    /// The first line is not a sample.
    #[error("the first line is not the sample of a trials file")]
    NoSample,
    /// A line after the first one is a sample.
    #[error("line {0} of the trials file begins another sample; a file has one")]
    SecondSample(usize),
    /// The file has another version.
    #[error("the trials file has version {0}; this program reads version {VERSION}")]
    Version(u64),
}

impl Evidence {
    /// Removes the last round. If it was interrupted, its remaining trials would replay other arrivals.
    pub fn drop_last_round(&mut self) {
        let last = self.trials.iter().map(|trial| trial.round).max();
        self.trials.retain(|trial| Some(trial.round) != last);
    }

    /// Removes the candidates that the job's limit on the records per batch does not allow, except the current
    /// configuration.
    pub fn keep_to_the_cap(&mut self) {
        let header = &self.header;
        let stays = |trial: &Trial| {
            header.current.as_ref() == Some(&trial.candidate) || header.allows(&trial.candidate)
        };
        self.predicted.retain(stays);
        self.trials.retain(stays);
    }

    /// Returns evidence without trials.
    #[must_use]
    pub fn predicted(header: Header, predicted: Vec<Trial>) -> Self {
        Self { header, predicted, trials: Vec::new(), holds: None, is_complete: false }
    }

    /// Reads a trials file. An incomplete last line is ignored.
    ///
    /// # Errors
    /// If a line cannot be read or is invalid.
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
                // Two files were put together.
                Line::Sample(_) if header.is_some() => return Err(EvidenceError::SecondSample(number)),
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

/// Checks the version of the first line before its fields are parsed, because other versions have other fields.
fn check_version(first: &serde_json::Value) -> Result<(), EvidenceError> {
    let version =
        first.get("sample").and_then(|sample| sample.get("version")).and_then(serde_json::Value::as_u64);
    match version.ok_or(EvidenceError::NoSample)? {
        version if version == u64::from(VERSION) => Ok(()),
        version => Err(EvidenceError::Version(version)),
    }
}

/// Writes the first line of a trials file.
///
/// # Errors
/// If writing fails.
pub fn write_header(out: &mut dyn Write, header: &Header) -> std::io::Result<()> {
    write_line(out, &Line::Sample(Box::new(header.clone())))
}

/// Writes the prediction of a candidate.
///
/// # Errors
/// If writing fails.
pub fn write_predicted(out: &mut dyn Write, trial: &Trial) -> std::io::Result<()> {
    write_line(out, &Line::Predicted(trial.clone()))
}

/// Writes a trial and flushes the file, so that the trial is stored before the next one begins.
///
/// # Errors
/// If writing fails.
pub fn write_trial(out: &mut dyn Write, trial: &Trial) -> std::io::Result<()> {
    write_line(out, &Line::Trial(trial.clone()))
}

/// Writes the validity range of a recommendation.
///
/// # Errors
/// If writing fails.
pub fn write_validity_range(out: &mut dyn Write, range: &ValidityRange) -> std::io::Result<()> {
    write_line(out, &Line::Holds(range.clone()))
}

/// Writes the mark of a completed run.
///
/// # Errors
/// If writing fails.
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
    use velo_engine::process::Synthetic;

    use super::*;
    use crate::objective::Goal;
    use crate::trial::Replay;

    fn evidence() -> Evidence {
        let recording = [velo_engine::source::replay::Recorded::default()];
        let profile = Profile::of(&recording, Duration::from_secs(1)).unwrap();
        let work = Work::new(Synthetic::default(), Duration::from_millis(3));
        let cost = Cost::line(Duration::from_millis(1), Duration::ZERO);
        let current = Some(Candidate::defaults());
        let wishes =
            Objective { goal: Goal::Latency, p99: Some(Duration::from_millis(50)), memory_bytes: None };
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
        let holds = Some(ValidityRange {
            candidate: Candidate::defaults(),
            wishes: header.wishes,
            from: None,
            until: None,
        });
        Evidence { header, predicted: vec![trial(5.0)], trials: vec![trial(4.0)], holds, is_complete: true }
    }

    #[test]
    fn what_is_written_reads_back() {
        let evidence = evidence();
        let mut file = Vec::new();
        write_header(&mut file, &evidence.header).unwrap();
        write_predicted(&mut file, &evidence.predicted[0]).unwrap();
        write_trial(&mut file, &evidence.trials[0]).unwrap();
        write_validity_range(&mut file, evidence.holds.as_ref().unwrap()).unwrap();
        write_complete(&mut file).unwrap();
        assert_eq!(Evidence::read(file.as_slice()).unwrap(), evidence);
    }

    #[test]
    fn two_files_in_one_are_refused() {
        let mut file = Vec::new();
        write_header(&mut file, &evidence().header).unwrap();
        let twice = file.repeat(2);
        let error = Evidence::read(twice.as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("line 2 of the trials file begins another sample"), "{error}");
    }

    #[test]
    fn a_file_that_is_none_says_where() {
        assert!(matches!(Evidence::read(b"".as_slice()), Err(EvidenceError::NoSample)));
        let error = Evidence::read(b"\nnonsense".as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("line 2"), "{error}");
    }
}
