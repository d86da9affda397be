//! Exit codes.

use std::process::ExitCode;

/// The exit code of a command that could not start.
pub(crate) const EXIT_USAGE: u8 = 2;

/// Returns the exit code of a command, and prints its error.
pub(crate) fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Prints the error of a command, as a JSON object with `--log-format json`.
#[cfg(feature = "kafka")]
fn report(error: &str) {
    crate::log::error(error);
}

#[cfg(not(feature = "kafka"))]
fn report(error: &str) {
    anstream::eprintln!("{} {error}", crate::render::style::error("error:"));
}

/// True if the reader of the output has closed it (`velo keys | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        io.or_else(|| cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
    });
    kind == Some(std::io::ErrorKind::BrokenPipe)
}
