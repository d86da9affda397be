//! From arguments to a client's settings; what a command says about brokers and topics.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use velo_engine::kafka::{ClientSettings, Origin};

use crate::args::BrokerArgs;
use crate::properties::{parse, translate};

/// What the names of variables begin with that hold properties.
const VARIABLES: &str = "VELO_KAFKA_";

/// The client's settings: variables first, then the properties file, then `-X`, each over those before.
pub(crate) fn settings(args: &BrokerArgs) -> Result<ClientSettings> {
    let mut all = Vec::new();
    all.extend(std::env::vars().filter_map(|(name, value)| {
        let name = name.strip_prefix(VARIABLES)?.to_ascii_lowercase().replace('_', ".");
        Some((name, (value, Origin::Environment)))
    }));
    if let Some(path) = &args.properties_file {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for (number, name, value) in parse(&text).with_context(|| path.display().to_string())? {
            let value = resolved(&name, &value).with_context(|| format!("{}:{number}", path.display()))?;
            all.push((name, (value, Origin::File)));
        }
    }
    for text in &args.properties {
        let (name, value) = property(text).with_context(|| "-X".to_owned())?;
        all.push((name, (value, Origin::Argument)));
    }
    let origins: BTreeMap<_, _> = all.iter().map(|(name, (_, origin))| (name.clone(), *origin)).collect();
    let mut properties: BTreeMap<_, _> = all.into_iter().map(|(name, (value, _))| (name, value)).collect();
    for name in translate(&mut properties)? {
        anstream::eprintln!("note: the property {name} is for Java clients and has no effect here");
    }
    // Files of operators say where the brokers are, too; the option wins.
    let in_file = match origins.get("bootstrap.servers") {
        Some(Origin::File | Origin::Environment) => properties.remove("bootstrap.servers"),
        _ => None,
    };
    for (name, path) in properties.iter().filter(|(name, _)| name.ends_with(".location")) {
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

fn resolved(key: &str, value: &str) -> Result<String> {
    let Some(path) = value.strip_prefix('@') else { return Ok(value.to_owned()) };
    let text = std::fs::read_to_string(Path::new(path)).with_context(|| format!("{key}=@{path}"))?;
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
        let error = property("hunter2").unwrap_err().to_string();
        assert!(!error.contains("hunter2"));
    }
}
