//! What fetches the records: the arguments and the properties of the client in, the fetcher out.

use anyhow::{Result, bail};
use velo_engine::kafka::{ClientSettings, Fetching};

use crate::args::RunArgs;

/// Returns the fetcher that the user has asked for.
///
/// # Errors
/// If it cannot be used with these properties.
pub(super) fn fetching(args: &RunArgs, settings: &ClientSettings) -> Result<Fetching> {
    let fetching = args.fetcher.into();
    match Fetching::needs_librdkafka(settings) {
        Some(reason) if fetching == Fetching::Native => {
            bail!("--fetcher native cannot be used: {reason}; use --fetcher librdkafka")
        }
        _ => Ok(fetching),
    }
}
