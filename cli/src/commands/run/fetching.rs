//! What fetches the records: the arguments, the properties of the client and the brokers in, the fetcher out.

use anyhow::{Context, Result};
use velo_engine::kafka::{Choice, ClientSettings, TopicReader};

use crate::args::RunArgs;
use crate::log::say;

/// Chooses the fetcher.
///
/// # Errors
/// If the user has asked for one that cannot be used with these properties.
pub(super) fn choose(args: &RunArgs, settings: &ClientSettings, reader: &TopicReader) -> Result<Choice> {
    let choice = reader
        .choose_fetcher(args.fetcher.wanted(), settings)
        .context("--fetcher native: use --fetcher librdkafka, or remove the property")?;
    if let Some(reason) = &choice.reason {
        say(&format!("librdkafka fetches the records: {reason}"));
    }
    Ok(choice)
}
