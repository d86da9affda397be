//! From arguments to a client's settings; what a command says about brokers and topics.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use velo_engine::kafka::ClientSettings;

use crate::args::BrokerArgs;

/// The client's settings: the properties file first, then `-X`, which wins.
pub(crate) fn settings(args: &BrokerArgs) -> Result<ClientSettings> {
    let Some(bootstrap_servers) = &args.bootstrap_servers else {
        bail!("--bootstrap-servers is missing: host:port of at least one broker");
    };
    let mut properties = BTreeMap::new();
    if let Some(path) = &args.properties_file {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with('!') {
                continue;
            }
            let property = property(line).with_context(|| format!("{}:{number}", path.display()))?;
            properties.extend([property]);
        }
    }
    for text in &args.properties {
        properties.extend([property(text).with_context(|| "-X".to_owned())?]);
    }
    Ok(ClientSettings::new(bootstrap_servers.clone(), properties)?)
}

/// `key=value`, or `key=@FILE` for a value that should not stand in a list of processes.
fn property(text: &str) -> Result<(String, String)> {
    let Some((key, value)) = text.split_once('=') else {
        // What was meant to be a secret may stand here, so it is not repeated.
        bail!("a property is written key=value");
    };
    let (key, value) = (key.trim().to_owned(), value.trim());
    let value = match value.strip_prefix('@') {
        Some(path) => {
            let text = std::fs::read_to_string(Path::new(path)).with_context(|| format!("{key}=@{path}"))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => value.to_owned(),
    };
    Ok((key, value))
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
