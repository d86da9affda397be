//! Applies `--memory-limit`: the limit in, the allocator's settings and the shares of the job's parts out.

use velo_engine::memory::MemoryBudget;

use super::job::Job;
use crate::args::RunArgs;

/// Replaces this process by one whose allocator returns freed memory to the system at once. The allocator reads this
/// setting from the environment when the process starts; by default it keeps freed memory for a while.
#[cfg(unix)]
pub(super) fn give_memory_back() {
    use std::os::unix::process::CommandExt;
    const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut args = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), args.next()) {
        // `exec` returns only if it fails. The job then runs with the default, and may exceed the limit.
        let _ = std::process::Command::new(program).arg0(name).args(args).env(VARIABLE, "0").exec();
    }
}

#[cfg(not(unix))]
pub(super) fn give_memory_back() {}

/// Divides the memory of the job.
pub(super) fn memory(args: &RunArgs, job: &Job, source_partitions: usize) -> MemoryBudget {
    let Some(limit) = args.memory_limit else { return MemoryBudget::unlimited(source_partitions) };
    let programs = args.exec.as_ref().map_or(0, |_| job.config.threads_of_a_batch() as u64);
    MemoryBudget::with_programs(limit, args.concurrency.get().into(), source_partitions, programs)
}
