//! Messages on stderr while a job runs: lines of text, or one JSON object per line.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;

use crate::args::{LogArgs, LogFormat};
use crate::progress::{StderrAbove, above};
use crate::render::style;

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging to stderr.
pub(crate) fn start(args: &LogArgs) {
    let is_json = args.log_format == LogFormat::Json;
    IS_JSON.store(is_json, Ordering::Release);
    let level = args.log_level.unwrap_or(if is_json { Level::INFO } else { Level::ERROR });
    let events = tracing_subscriber::fmt().with_max_level(level).with_writer(StderrAbove::default);
    let started = if is_json {
        events.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        events.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    // It fails if a subscriber is installed already, which is then kept.
    drop(started);
}

/// Prints progress information.
pub(crate) fn say(text: &str) {
    tell(Level::INFO, "", text);
}

/// Prints a note: the job continues, but the user should know.
pub(crate) fn note(text: &str) {
    tell(Level::WARN, "note: ", text);
}

/// Prints the reason why a job failed.
pub(crate) fn fail(text: &str) {
    tell(Level::ERROR, "the job failed: ", text);
}

/// Prints an error that prevents a command from completing.
pub(crate) fn error(text: &str) {
    tell(Level::ERROR, "error: ", text);
}

fn tell(level: Level, prefix: &str, text: &str) {
    if !IS_JSON.load(Ordering::Acquire) {
        let prefix = if level == Level::ERROR { style::error(prefix) } else { prefix.to_owned() };
        above(|| anstream::eprintln!("{prefix}{text}"));
        return;
    }
    // JSON messages have no colours.
    let text = anstream::adapter::strip_str(text).to_string();
    match level {
        Level::ERROR => tracing::error!("{text}"),
        Level::WARN => tracing::warn!("{text}"),
        _ => tracing::info!("{text}"),
    }
}
