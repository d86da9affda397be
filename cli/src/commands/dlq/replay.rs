//! `velo dlq replay`: writes the records of dead letters to the topics that they came from, or to a sink, each once.
//!
//! 1. The survey reads the queue: its dead letters and the receipts of earlier replays.
//! 2. If an earlier replay was interrupted, the target is searched for its records, from the offsets in its `Began`
//!    receipt on.
//! 3. The queue is read again and records are sent in parts. After the brokers have acknowledged a part, a receipt
//!    is written for it.
#![allow(clippy::disallowed_methods, reason = "--rate needs a clock and waits")]

mod finish;
mod outgoing;
mod part;
mod prepare;
mod receipts;
mod state;
mod survey;
mod take;
mod target;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::state::Replay;
use self::survey::Survey;
use super::filter;
use crate::args::DlqReplayArgs;
use crate::kafka::settings;

pub(crate) fn replay(args: &DlqReplayArgs) -> Result<ExitCode> {
    let settings = settings(&args.letters.broker)?;
    let queue = &args.letters.topic;
    if args.to_sink.as_ref() == Some(queue) {
        bail!("cannot replay '{queue}' to itself; set --to-sink to another topic");
    }
    let survey = Survey::take(&settings, args)?;
    if survey.foreign > 0 {
        anstream::eprintln!(
            "{} records of '{queue}' have no origin headers and are not replayed",
            survey.foreign
        );
    }
    if survey.letters.iter().all(|letter| !letter.is_selected) {
        println!("{}", filter(&args.letters).without_match(queue, &survey.others));
        return Ok(ExitCode::SUCCESS);
    }
    let mut replay = Replay::prepare(&settings, args, survey)?;
    replay.send_all()?;
    replay.finish()
}
