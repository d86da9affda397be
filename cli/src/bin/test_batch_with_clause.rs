//! Checks that batch settings mean what the documentation says.
use std::process::ExitCode;

fn main() -> ExitCode {
    velo_cli::check_program::main(velo_cli::check_program::BATCH_WITH_CLAUSE)
}
