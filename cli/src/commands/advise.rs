//! `velo advise`: a topic in, a measured recommendation out.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use velo_advisor::confirm::confirm;
use velo_advisor::runner::{ROUNDS, Workload, round, try_candidate};
use velo_advisor::sample::{Limits, Sample, sample};
use velo_advisor::trial::{Header, VERSION, write_header, write_trial};
use velo_advisor::{Advice, Candidate, Evidence, Goal, Profile, Refusal, Wishes, Work, recommend};
use velo_engine::Control;
use velo_engine::kafka::{ClientSettings, TopicReader};

use crate::args::{AdviseArgs, DemoArg, GoalArg};
use crate::demo::{self, Demo};
use crate::kafka::settings;
use crate::render::{advice, style};

const EXIT_NOT_ENOUGH_EVIDENCE: u8 = 3;
const EXIT_INFEASIBLE: u8 = 4;

/// How long the recommendation is confirmed on the live topic.
const CONFIRM: Duration = Duration::from_secs(3);
/// Fewer records than this do not describe a workload.
const ENOUGH_RECORDS: u64 = 100;

pub(crate) fn run(args: &AdviseArgs) -> Result<ExitCode> {
    if let Some(path) = &args.from_trials {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let evidence = Evidence::read(BufReader::new(file)).with_context(|| path.display().to_string())?;
        return print(args, &recommend(&evidence, wishes(args, None)));
    }
    if let Some(demo) = args.demo {
        let workload = match demo {
            DemoArg::Bulk => &demo::BULK,
            DemoArg::Alerts => &demo::ALERTS,
        };
        anstream::eprintln!("{} {}", style::bold("demo:"), workload.description);
        let running = Demo::start(workload)?;
        let session = Session {
            args,
            settings: running.settings()?,
            topic: demo::TOPIC.to_owned(),
            wishes: wishes(args, workload.p99),
            sink_cost: Some(args.sink_cost.unwrap_or(workload.sink_cost)),
            trials: args.trials.clone(),
        };
        session.advise()
    } else {
        let Some(topic) = args.topic.clone() else { bail!("--topic is missing") };
        let session = Session {
            args,
            settings: settings(&args.broker)?,
            wishes: wishes(args, None),
            sink_cost: args.sink_cost,
            trials: Some(trials_path(args, &topic)),
            topic,
        };
        session.advise()
    }
}

fn trials_path(args: &AdviseArgs, topic: &str) -> PathBuf {
    args.trials.clone().unwrap_or_else(|| PathBuf::from(format!("velo-trials-{topic}.jsonl")))
}

fn wishes(args: &AdviseArgs, default_p99: Option<Duration>) -> Wishes {
    let goal = match args.goal {
        GoalArg::Latency => Goal::Latency,
        GoalArg::Throughput => Goal::Throughput,
    };
    Wishes { goal, p99: args.p99.or(default_p99) }
}

/// One topic to advise on.
struct Session<'a> {
    args: &'a AdviseArgs,
    settings: ClientSettings,
    topic: String,
    wishes: Wishes,
    /// What a batch's way to the sink takes; measured where it is not given.
    sink_cost: Option<Duration>,
    trials: Option<PathBuf>,
}

impl Session<'_> {
    fn advise(&self) -> Result<ExitCode> {
        anstream::eprintln!(
            "reading only: no group is joined, nothing is committed or written; at most {}/s, trials for {}",
            velo_schema::format_bytes(self.args.max_rate),
            velo_schema::format_duration(self.args.budget),
        );
        let (sample, sink_cost) = self.sample()?;
        for notice in &sample.notices {
            anstream::eprintln!("note: {notice}");
        }
        let profile = match Profile::of(&sample.recording, sample.period) {
            Some(profile) if profile.records >= ENOUGH_RECORDS => profile,
            Some(profile) => {
                let records = profile.records;
                return self.refuse(Refusal::TooFewRecords { records, needed: ENOUGH_RECORDS });
            }
            None if sample.recording.is_empty() => {
                return self.refuse(Refusal::Idle { seconds: self.args.sample.as_secs_f64() });
            }
            None => {
                let records = sample.recording.len() as u64;
                return self.refuse(Refusal::TooFewRecords { records, needed: ENOUGH_RECORDS });
            }
        };
        let work = Work::new(self.args.cost.unwrap_or_default(), sink_cost);
        anstream::eprintln!("{}", advice::workload(&profile, &work));
        let workload = Workload { recording: sample.recording, period: sample.period, profile, work };
        let evidence = self.try_all(&workload)?;
        let mut advice = recommend(&evidence, self.wishes);
        if let Some(recommendation) = &advice.recommendation {
            anstream::eprintln!("confirming {} on the live topic", recommendation.candidate);
            let control = Control::default();
            let reader = self.connect(&control)?;
            let candidate = recommendation.candidate;
            let max_rate = self.args.max_rate;
            let confirmed = confirm(reader, &self.topic, candidate, work, CONFIRM, max_rate, control)?;
            advice.confirmation = Some(confirmed);
        }
        print(self.args, &advice)
    }

    /// Where there is nothing to make advice from.
    fn refuse(&self, refusal: Refusal) -> Result<ExitCode> {
        print(self.args, &Advice::refused(self.topic.clone(), self.wishes, refusal))
    }

    fn connect(&self, control: &Control) -> Result<TopicReader> {
        // A quarter of a second ahead, so that what is fetched and thrown away stays within the cap.
        Ok(TopicReader::connect(&self.settings, self.args.max_rate / 4, control.waker())?)
    }

    fn sample(&self) -> Result<(Sample, Duration)> {
        let control = Control::default();
        let reader = self.connect(&control)?;
        let sink_cost = match self.sink_cost {
            Some(cost) => cost,
            None => reader.round_trip(&self.topic)?,
        };
        let limits = Limits { period: self.args.sample, max_bytes_per_s: self.args.max_rate };
        let bar = spinner();
        let sampled = sample(reader, &self.topic, limits, &control.waker(), &mut |records, elapsed| {
            bar.set_message(format!(
                "sampling {}: {records} records, {:.1} s",
                self.topic,
                elapsed.as_secs_f64()
            ));
            bar.tick();
        });
        bar.finish_and_clear();
        Ok((sampled?, sink_cost))
    }

    /// Tries all candidates, then the better half, then the best two; each trial is written before
    /// the next one begins.
    fn try_all(&self, workload: &Workload) -> Result<Evidence> {
        let header = Header {
            version: VERSION,
            topic: self.topic.clone(),
            profile: workload.profile.clone(),
            work: workload.work,
        };
        let mut file = self.trials.as_ref().map(|path| {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            anyhow::Ok(BufWriter::new(file))
        });
        let mut file = file.take().transpose()?;
        let what = || self.trials.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        if let Some(file) = &mut file {
            write_header(file, &header).with_context(what)?;
        }
        let mut evidence = Evidence { header, trials: Vec::new() };
        let mut best = Candidate::all();
        let bar = spinner();
        for number in 0..ROUNDS {
            let round = round(number, &best, self.args.budget, workload.profile.records);
            for candidate in &round.candidates {
                bar.set_message(format!("round {} of {ROUNDS}: {candidate}", number + 1));
                bar.tick();
                let trial = try_candidate(workload, *candidate, round.lengths);
                if let Some(file) = &mut file {
                    write_trial(file, &trial).with_context(what)?;
                }
                evidence.trials.push(trial);
            }
            best = recommend(&evidence, self.wishes).candidates.iter().map(|tried| tried.candidate).collect();
        }
        bar.finish_and_clear();
        Ok(evidence)
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn exit_code(refusal: Option<&Refusal>) -> ExitCode {
    match refusal {
        None => ExitCode::SUCCESS,
        Some(refusal) if refusal.is_infeasible() => ExitCode::from(EXIT_INFEASIBLE),
        Some(_) => ExitCode::from(EXIT_NOT_ENOUGH_EVIDENCE),
    }
}

fn print(args: &AdviseArgs, advice: &Advice) -> Result<ExitCode> {
    let mut out = anstream::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, advice)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", advice::text(advice))?;
    }
    Ok(exit_code(advice.refusal.as_ref()))
}
