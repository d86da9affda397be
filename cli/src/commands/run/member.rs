//! Creates the members of a job: the configuration and the arguments in, a builder with its processor out.

use velo_engine::process::exec::{Exec, ExecProcessor};
use velo_engine::process::{Forward, Processor};
use velo_engine::{Builder, Control, JobConfig};

use crate::args::RunArgs;

/// Creates one member of the job.
pub(super) fn member(config: JobConfig, args: &RunArgs, control: Control, most_answer_bytes: u64) -> Builder {
    Builder::controlled(config, control).boxed_processor(processor(args, most_answer_bytes))
}

fn processor(args: &RunArgs, most_answer_bytes: u64) -> Box<dyn Processor> {
    match (&args.exec, args.cost) {
        (Some(command), _) => {
            let (command, timeout) = (command.clone(), args.exec_timeout);
            let processor = ExecProcessor::new(Exec { command, timeout, environment: Vec::new() });
            Box::new(processor.speaking(args.exec_protocol.into()).answering_within(most_answer_bytes))
        }
        (None, Some(synthetic)) => Box::new(synthetic),
        (None, None) => Box::new(Forward),
    }
}
