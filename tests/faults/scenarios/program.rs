//! The processor is an external program that ends, hangs, answers late, wrongly, too much or not at all.

use std::time::Duration;

use fastrand::Rng;

use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

/// The program hangs.
const HANGS: &str = "sleep 1000";

/// What a program does with the batch whose number is a multiple of another number. Each answers other batches well.
const HABITS: [&str; 8] = [
    // It ends.
    "exit 3",
    // It ends without a word about why, after half an answer.
    "printf '{\"o'; exit 0",
    // It answers what is no JSON.
    "echo nonsense; continue",
    // It names a record that it did not get.
    "echo '{\"errors\":[{\"record\":99999999,\"message\":\"x\"}]}'; continue",
    // It answers twice.
    "echo '{\"ok\":true}'",
    HANGS,
    // Its answer has no end.
    "head -c 100000000 /dev/zero | tr '\\0' x; echo; continue",
    // It dies by a signal.
    "kill -9 $$",
];

/// The number of batches, of all members, after which a program no longer misbehaves.
const BAD_BATCHES: u32 = 60;

/// The same for a program that hangs: each time costs the whole time-out.
const HANGING_BATCHES: u32 = 20;

/// The time a program has for a batch. A good program on a busy machine has to keep it, too.
const TIMEOUT: Duration = Duration::from_mins(1);
const HANGING_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan::draw(&mut random);
    let workload = Workload::new(seed, 3000, 4);
    let trial = Trial::new(site, plan, workload);
    let (habit, every) = (HABITS[random.usize(..HABITS.len())], random.u32(3..8));
    let (timeout, until) =
        if habit == HANGS { (HANGING_TIMEOUT, HANGING_BATCHES) } else { (TIMEOUT, BAD_BATCHES) };
    // grep reads to the empty line that ends a batch; the shell's own read would take a system call a byte.
    // The count is the size of a file, which outlives the program; all members add to it. A program's first answer is a
    // good one: whatever comes before that ends the job. After so many batches the program is a good one.
    let program = format!(
        "while grep -qx ''; do printf x >>{0}/count; n=$(wc -c <{0}/count); \
         [ -n \"$began\" ] && [ $n -lt {until} ] && [ $((n % {every})) = 0 ] && {{ {habit}; }}; began=1; \
         echo '{{\"ok\":true}}'; done",
        trial.folder().display()
    );
    trial.with_program(program, timeout).finish()
}
