//! Client settings from the command line, a properties file and the environment.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use velo_engine::kafka::{ClientSettings, Origin, canonical_name};

use crate::args::BrokerArgs;
use crate::log::note;
use crate::properties::{parse, translate};

/// The prefix of environment variables that set client properties.
const VARIABLES: &str = "VELO_KAFKA_";

/// Returns the client settings. `-X` takes precedence over the properties file, and the file over environment variables.
///
/// # Errors
/// If a property cannot be read or is invalid, or no broker is set.
pub(crate) fn settings(args: &BrokerArgs) -> Result<ClientSettings> {
    let mut variables = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        // Properties are UTF-8.
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
        if let Some(name) = name.strip_prefix(VARIABLES) {
            let name = name.to_ascii_lowercase().replace('_', ".");
            let value = resolved(&name, &value).context("environment")?;
            variables.insert(name, value);
        }
    }
    let mut in_file = BTreeMap::new();
    if let Some(path) = &args.properties_file {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for (number, name, value) in parse(&text).with_context(|| path.display().to_string())? {
            let value = resolved(&name, &value).with_context(|| format!("{}:{number}", path.display()))?;
            in_file.insert(name, value);
        }
    }
    let arguments = args.properties.iter().map(|text| property(text).context("-X"));
    let arguments = arguments.collect::<Result<BTreeMap<_, _>>>()?;
    let (mut properties, mut origins) = (BTreeMap::new(), BTreeMap::new());
    let sources = [(variables, Origin::Environment), (in_file, Origin::File), (arguments, Origin::Argument)];
    // Each source is translated on its own, so that precedence also applies to translated properties.
    for (mut source, origin) in sources {
        for name in translate(&mut source)? {
            note(&format!("property {name} is ignored: it applies only to Java clients"));
        }
        for (name, value) in source {
            let name = canonical_name(&name).to_owned();
            origins.insert(name.clone(), origin);
            properties.insert(name, value);
        }
    }
    // The brokers may be set by a property; --bootstrap-servers takes precedence.
    let in_file = match origins.get("bootstrap.servers") {
        Some(Origin::File | Origin::Environment) => properties.remove("bootstrap.servers"),
        _ => None,
    };
    for (name, path) in properties.iter().filter(|(name, _)| name.ends_with(".location")) {
        // With `probe` the client searches the system's certificate directories.
        if name == "ssl.ca.location" && path == "probe" {
            continue;
        }
        if !Path::new(path).exists() {
            bail!("{name}: there is no file '{path}'");
        }
    }
    let Some(bootstrap_servers) = args.bootstrap_servers.clone().or(in_file) else {
        bail!("no brokers are set; set --bootstrap-servers to HOST:PORT of at least one broker");
    };
    Ok(ClientSettings::new(bootstrap_servers, properties)?.with_origins(origins))
}

/// Parses `KEY=VALUE`, or `KEY=@FILE` to read the value from a file.
fn property(text: &str) -> Result<(String, String)> {
    let Some((key, value)) = text.split_once('=') else {
        // The text may be a secret, so the message does not repeat it.
        bail!("expected KEY=VALUE");
    };
    Ok((key.trim().to_owned(), resolved(key.trim(), value.trim())?))
}

/// Returns the value, or the contents of the file that follows `@`. `@@` stands for a value that starts with `@`.
fn resolved(key: &str, value: &str) -> Result<String> {
    let Some(path) = value.strip_prefix('@') else { return Ok(value.to_owned()) };
    if path.starts_with('@') {
        return Ok(path.to_owned());
    }
    // The value may be a secret that starts with `@`, so the message does not repeat it.
    let unread =
        || format!("{key}: cannot read the file named after @ (write @@ for a value that starts with @)");
    let text = std::fs::read_to_string(Path::new(path)).with_context(unread)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_comes_from_the_argument_or_a_file() {
        assert_eq!(property("a.b = c=d").unwrap(), ("a.b".to_owned(), "c=d".to_owned()));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let text = format!("sasl.password=@{}", file.path().display());
        assert_eq!(property(&text).unwrap().1, "hunter2");
        assert_eq!(property("sasl.password=@@hunter2").unwrap().1, "@hunter2");
        for text in ["hunter2", "sasl.password=@hunter2"] {
            let error = format!("{:#}", property(text).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
