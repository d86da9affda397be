//! From arguments to a client's settings; what a command says about brokers and topics.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use velo_engine::kafka::{ClientSettings, Origin, canonical_name};

use crate::args::BrokerArgs;
use crate::log::note;
use crate::properties::{parse, translate};

/// What the names of variables begin with that hold properties.
const VARIABLES: &str = "VELO_KAFKA_";

/// The client's settings: variables first, then the properties file, then `-X`, each over those before.
pub(crate) fn settings(args: &BrokerArgs) -> Result<ClientSettings> {
    let mut variables = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        // What is no text is no name or value of ours.
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
        if let Some(name) = name.strip_prefix(VARIABLES) {
            let name = name.to_ascii_lowercase().replace('_', ".");
            let value = resolved(&name, &value).context("a variable")?;
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
    // Each is translated by itself, so that whoever goes before goes before.
    for (mut source, origin) in sources {
        for name in translate(&mut source)? {
            note(&format!("the property {name} is for Java clients and has no effect here"));
        }
        for (name, value) in source {
            let name = canonical_name(&name).to_owned();
            origins.insert(name.clone(), origin);
            properties.insert(name, value);
        }
    }
    // Files of operators say where the brokers are, too; the option wins.
    let in_file = match origins.get("bootstrap.servers") {
        Some(Origin::File | Origin::Environment) => properties.remove("bootstrap.servers"),
        _ => None,
    };
    for (name, path) in properties.iter().filter(|(name, _)| name.ends_with(".location")) {
        // The client looks for certificates where systems have them.
        if name == "ssl.ca.location" && path == "probe" {
            continue;
        }
        if !Path::new(path).exists() {
            bail!("{name}: there is no file '{path}'");
        }
    }
    let Some(bootstrap_servers) = args.bootstrap_servers.clone().or(in_file) else {
        bail!("--bootstrap-servers is missing: host:port of at least one broker");
    };
    Ok(ClientSettings::new(bootstrap_servers, properties)?.with_origins(origins))
}

/// `key=value`, or `key=@FILE` for a value that should not stand in a list of processes.
fn property(text: &str) -> Result<(String, String)> {
    let Some((key, value)) = text.split_once('=') else {
        // What was meant to be a secret may stand here, so it is not repeated.
        bail!("a property is written key=value");
    };
    Ok((key.trim().to_owned(), resolved(key.trim(), value.trim())?))
}

/// The value, or what stands in the file behind `@`; `@@` is an `@` that begins a value.
fn resolved(key: &str, value: &str) -> Result<String> {
    let Some(path) = value.strip_prefix('@') else { return Ok(value.to_owned()) };
    if path.starts_with('@') {
        return Ok(path.to_owned());
    }
    // It may be a secret that begins like this, so it is not repeated.
    let unread =
        || format!("{key}: the file behind @ cannot be read (a value that begins with @ is written @@)");
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
