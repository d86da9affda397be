//! `velo-advise`: `velo advise` under its own name.

use std::process::ExitCode;

fn main() -> ExitCode {
    velo_cli::main_advise()
}
