//! The trials file: resumes an interrupted run of the same workload, and saves every result of this run as soon as it
//! is known.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use velo_advisor::Evidence;
use velo_advisor::evidence::{EvidenceError, Header, write_header, write_predicted, write_trial};

/// Largest relative change of the workload at which a run resumes earlier trials.
const DRIFT: f64 = 0.2;

/// A trials file.
pub(super) struct Trials {
    path: PathBuf,
}

impl Trials {
    /// Checks that the file can be written and that an existing file is a trials file. Does not create the file.
    pub(super) fn at(path: PathBuf) -> Result<Self> {
        let name = || path.display().to_string();
        if path.is_file() && std::fs::metadata(&path).with_context(name)?.len() > 0 {
            let file = File::open(&path).with_context(name)?;
            match Evidence::read(BufReader::new(file)) {
                Ok(_) | Err(EvidenceError::Version(_)) => {}
                Err(error) => bail!(
                    "{} exists and is not a trials file ({error}); choose another file with --trials",
                    name()
                ),
            }
        }
        let was_there = path.exists();
        File::options().create(true).append(true).open(&path).with_context(name)?;
        if !was_there {
            std::fs::remove_file(&path).with_context(name)?;
        }
        Ok(Self { path })
    }

    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns the evidence of an interrupted run if the workload is still the same.
    ///
    /// The error contains the difference, or `None` if there is no interrupted run.
    pub(super) fn unfinished(&self, now: &Header) -> Result<Evidence, Option<String>> {
        let file = File::open(&self.path).map_err(|_| None)?;
        let evidence = Evidence::read(BufReader::new(file)).map_err(|_| None)?;
        if evidence.is_complete {
            return Err(None);
        }
        match difference(&evidence.header, now) {
            Some(what) => Err(Some(format!("{}: {what} has changed; starting over", self.name()))),
            None => Ok(evidence),
        }
    }

    /// Writes the evidence so far to the file and returns the file for further results.
    pub(super) fn begin(&self, evidence: &Evidence) -> Result<BufWriter<File>> {
        let begun = || -> std::io::Result<_> {
            if !self.path.is_file() && self.path.exists() {
                // Write to pipes and devices directly.
                let mut file = BufWriter::new(File::options().write(true).open(&self.path)?);
                write(&mut file, evidence)?;
                return Ok(file);
            }
            // Replace an existing file only when the new one is complete.
            let folder =
                self.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
            let mut file = BufWriter::new(tempfile::NamedTempFile::new_in(folder)?);
            write(&mut file, evidence)?;
            let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            Ok(BufWriter::new(file.persist(&self.path)?))
        };
        begun().with_context(|| self.name())
    }
}

fn write(file: &mut dyn Write, evidence: &Evidence) -> std::io::Result<()> {
    write_header(file, &evidence.header)?;
    evidence.predicted.iter().try_for_each(|trial| write_predicted(file, trial))?;
    evidence.trials.iter().try_for_each(|trial| write_trial(file, trial))
}

/// Returns the difference that prevents trials of `then` from being resumed.
fn difference(then: &Header, now: &Header) -> Option<&'static str> {
    let is_near = |then: f64, now: f64| (1.0 - now / then.max(1e-9)).abs() <= DRIFT;
    let (work_then, work) = (then.work, now.work);
    let is_same = |a: f64, b: f64| a.total_cmp(&b).is_eq();
    let same_cost = is_same(work_then.per_batch_ms, work.per_batch_ms)
        && is_same(work_then.per_record_ms, work.per_record_ms);
    // Measured round trips vary; the measured costs already include the earlier one.
    let same_sink = now.setup.sink_was_measured || is_same(work_then.sink_ms, work.sink_ms);
    [
        (then.topic == now.topic, "the topic"),
        (then.setup.bootstrap_servers == now.setup.bootstrap_servers, "the cluster"),
        (then.setup == now.setup && same_cost && same_sink, "the work per batch"),
        (
            (&then.current, then.max_batch_records) == (&now.current, now.max_batch_records),
            "the current configuration",
        ),
        (then.wishes == now.wishes, "the objective"),
        (is_near(then.profile.records_per_s, now.profile.records_per_s), "the rate"),
        (is_near(then.profile.peak_records_per_s, now.profile.peak_records_per_s), "the peak rate"),
        (is_near(then.profile.mean_bytes, now.profile.mean_bytes), "the record size"),
    ]
    .into_iter()
    .find_map(|(is_same, what)| (!is_same).then_some(what))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use velo_advisor::evidence::VERSION;
    use velo_advisor::trial::Setup;
    use velo_advisor::{Cost, Goal, Objective, Profile, Work};
    use velo_engine::process::Synthetic;

    use super::*;

    fn header() -> Header {
        Header {
            version: VERSION,
            topic: "orders".into(),
            setup: Setup { bootstrap_servers: Some("a:9092".into()), ..Setup::default() },
            wishes: Objective { goal: Goal::Latency, p99: None, memory_bytes: None },
            max_batch_records: None,
            profile: Profile::random(1000.0, 100),
            work: Work::new(Synthetic::default(), Duration::from_millis(1)),
            cost: Cost::line(Duration::from_millis(1), Duration::ZERO),
            current: None,
        }
    }

    #[test]
    fn trials_count_for_the_same_workload_only() {
        let then = header();
        assert_eq!(difference(&then, &then), None);
        let nearly = Header { profile: Profile::random(1100.0, 110), ..header() };
        assert_eq!(difference(&then, &nearly), None);
        let exec = Setup { exec: Some("cat".into()), ..then.setup.clone() };
        let cluster = Setup { bootstrap_servers: Some("b:9092".into()), ..then.setup.clone() };
        let memory = Objective { goal: Goal::Memory, ..then.wishes };
        for (now, what) in [
            (Header { topic: "others".into(), ..header() }, "the topic"),
            (Header { setup: cluster, ..header() }, "the cluster"),
            (Header { setup: exec, ..header() }, "the work per batch"),
            (
                Header { work: Work::new(Synthetic::default(), Duration::ZERO), ..header() },
                "the work per batch",
            ),
            (Header { wishes: memory, ..header() }, "the objective"),
            (Header { profile: Profile::random(2000.0, 100), ..header() }, "the rate"),
            (Header { profile: Profile::random(1000.0, 500), ..header() }, "the record size"),
        ] {
            assert_eq!(difference(&then, &now), Some(what));
        }
    }

    #[test]
    fn a_file_that_is_none_of_trials_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine\n").expect("written");
        assert!(Trials::at(path.clone()).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "mine\n");
        let new = folder.path().join("new.jsonl");
        let trials = Trials::at(new.clone()).expect("it can be there");
        assert!(!new.exists());
        // An incomplete last line is ignored.
        drop(trials.begin(&Evidence::predicted(header(), Vec::new())).expect("begun"));
        let mut file = File::options().append(true).open(&new).expect("a file");
        file.write_all(b"{\"trial\":{\"cand").expect("written");
        let evidence = Trials::at(new).expect("trials").unfinished(&header()).expect("it is the same");
        assert_eq!((evidence.header, evidence.trials.len()), (header(), 0));
    }
}
