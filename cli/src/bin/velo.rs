//! `velo`: lint, plan, run and advise for batch settings of streaming SQL.

use std::process::ExitCode;

fn main() -> ExitCode {
    velo_cli::main()
}
