//! Parses Kafka client property files and translates the properties of Java clients to librdkafka's.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Parses a Java properties file. Returns line number, name and value of each property.
///
/// # Errors
/// If a line has no separator.
pub(crate) fn parse(text: &str) -> Result<Vec<(usize, String, String)>> {
    let mut properties = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let mut line = trimmed(line).to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        // After an odd number of backslashes, the property continues on the next line.
        while line.len().wrapping_sub(line.trim_end_matches('\\').len()) % 2 == 1 {
            line.pop();
            line += lines.next().map_or("", |(_, more)| trimmed(more));
        }
        let Some(at) = separator(&line) else {
            // The line may be a secret, so the message does not repeat it.
            bail!("line {number}: expected key=value");
        };
        let (name, value) = (trimmed(&line[..at]), trimmed(&line[at + 1..]));
        properties.push((number, unescaped(name), unescaped(value)));
    }
    Ok(properties)
}

/// Removes blanks at both ends. A blank after a backslash is part of the text.
fn trimmed(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.trim_end().len();
    let backslashes = end - text[..end].trim_end_matches('\\').len();
    let escaped = if backslashes % 2 == 1 { text[end..].chars().next() } else { None };
    &text[..end + escaped.map_or(0, char::len_utf8)]
}

/// Returns the position of the first `=` or `:` that is not escaped.
fn separator(line: &str) -> Option<usize> {
    let mut is_escaped = false;
    line.char_indices().find_map(|(at, character)| {
        let found = !is_escaped && matches!(character, '=' | ':');
        is_escaped = character == '\\' && !is_escaped;
        found.then_some(at)
    })
}

/// Resolves the escapes of Java properties: `\n`, `\r`, `\t`, `\u0040`, and a backslash before any other character.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('u') => {
                let code = code_unit(&mut characters);
                // A character beyond the first 65,536 is written as two escapes.
                let mut ahead = characters.clone();
                let is_escape = (ahead.next(), ahead.next()) == (Some('\\'), Some('u'));
                let second = if is_escape { code_unit(&mut ahead) } else { None };
                let pair = char::decode_utf16(code.into_iter().chain(second)).next().and_then(Result::ok);
                if pair.is_some_and(|pair| pair.len_utf16() == 2) {
                    characters = ahead;
                }
                plain.push(pair.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => plain.extend(other),
        }
    }
    plain
}

/// Properties of Java clients that librdkafka does not need.
const OF_JAVA: [&str; 8] = [
    "key.deserializer",
    "key.serializer",
    "value.deserializer",
    "value.serializer",
    "sasl.login.callback.handler.class",
    "sasl.client.callback.handler.class",
    "ssl.protocol",
    "ssl.enabled.protocols",
];

/// Translates properties of Java clients to those of librdkafka. Returns the names of the properties that were ignored.
///
/// # Errors
/// If a property has no equivalent in librdkafka.
pub(crate) fn translate(properties: &mut BTreeMap<String, String>) -> Result<Vec<String>> {
    if let Some(jaas) = properties.remove("sasl.jaas.config") {
        login(&jaas, properties)?;
    }
    let trust_type = properties.remove("ssl.truststore.type");
    if let Some(path) = properties.remove("ssl.truststore.location") {
        if !trust_type.is_some_and(|kind| kind.eq_ignore_ascii_case("PEM")) {
            bail!(
                "ssl.truststore.location is a Java key store, which is not supported; export its certificates with \
                 'keytool -exportcert -rfc' and set ssl.ca.location to the exported file"
            );
        }
        properties.insert("ssl.ca.location".to_owned(), path);
    }
    properties.remove("ssl.truststore.password");
    rename(properties, "ssl.truststore.certificates", "ssl.ca.pem");
    match properties.remove("ssl.keystore.type").map(|kind| kind.to_ascii_uppercase()).as_deref() {
        Some("PEM") => {
            if let Some(path) = properties.remove("ssl.keystore.location") {
                properties.insert("ssl.certificate.location".to_owned(), path.clone());
                properties.insert("ssl.key.location".to_owned(), path);
            }
        }
        Some("JKS") => bail!(
            "ssl.keystore.location is a Java key store, which is not supported; convert it to PKCS#12 with 'keytool \
             -importkeystore -deststoretype PKCS12'"
        ),
        _ => {}
    }
    rename(properties, "ssl.keystore.certificate.chain", "ssl.certificate.pem");
    rename(properties, "ssl.keystore.key", "ssl.key.pem");
    if properties.get("ssl.endpoint.identification.algorithm").is_some_and(String::is_empty) {
        properties.insert("ssl.endpoint.identification.algorithm".to_owned(), "none".to_owned());
    }
    let left_out: Vec<_> = OF_JAVA.iter().filter(|name| properties.remove(**name).is_some()).collect();
    Ok(left_out.into_iter().map(|name| (*name).to_owned()).collect())
}

fn rename(properties: &mut BTreeMap<String, String>, from: &str, to: &str) {
    if let Some(value) = properties.remove(from) {
        properties.insert(to.to_owned(), value);
    }
}

/// Translates `…ScramLoginModule required username="…" password="…";` to `sasl.username` and `sasl.password`.
fn login(jaas: &str, properties: &mut BTreeMap<String, String>) -> Result<()> {
    let module = jaas.split_whitespace().next().unwrap_or_default();
    let is_known = ["PlainLoginModule", "ScramLoginModule"].iter().any(|known| module.ends_with(known));
    if !is_known {
        // The module is not named: without one, its place may hold the password.
        bail!(
            "sasl.jaas.config: only the login modules PlainLoginModule and ScramLoginModule are supported; for others, \
             set librdkafka's properties (sasl.oauthbearer.…)"
        );
    }
    for (option, property) in [("username", "sasl.username"), ("password", "sasl.password")] {
        let Some(value) = quoted(jaas, option) else {
            bail!("sasl.jaas.config has no {option}=\"…\"");
        };
        properties.insert(property.to_owned(), value);
    }
    Ok(())
}

/// Returns the value of `option="…"`, in which a backslash escapes the next character.
fn quoted(jaas: &str, option: &str) -> Option<String> {
    let rest = jaas.split_once(&format!("{option}=\""))?.1;
    let mut value = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
}

/// Takes the four hexadecimal digits of an escape.
fn code_unit(characters: &mut std::str::Chars<'_>) -> Option<u16> {
    let digits: String = characters.by_ref().take(4).collect();
    u16::from_str_radix(&digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(text: &str) -> Result<BTreeMap<String, String>> {
        let mut properties = parse(text)?.into_iter().map(|(_, name, value)| (name, value)).collect();
        translate(&mut properties)?;
        Ok(properties)
    }

    #[test]
    fn escapes_are_those_of_java() {
        let text = "a=x\\ \nb= y \nc=z\\\\ \nd=1\\  \ne=\\u00e9\\ud83d\\ude00\\ud83d!\n";
        let parsed = parse(text).unwrap();
        let values: Vec<_> = parsed.iter().map(|(_, name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(values, [("a", "x "), ("b", "y"), ("c", "z\\"), ("d", "1 "), ("e", "é😀\u{fffd}!")]);
    }

    #[test]
    fn a_java_clients_file_becomes_librdkafkas_properties() {
        let text = "# a comment\nsecurity.protocol=SASL_SSL\nsasl.mechanism: SCRAM-SHA-512\n\
                    sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  \
                    username=\"bob\" password=\"hunter\\\\\"2=\";\nsasl.kerberos.service.name=a\\u0062\\:c\\\\\n\
                    ssl.truststore.type=PEM\nssl.truststore.location=/ca.pem\nkey.deserializer=x\n\
                    ssl.endpoint.identification.algorithm=\n";
        let properties = translated(text).unwrap();
        let expected = [
            ("sasl.kerberos.service.name", "ab:c\\"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.password", "hunter\"2="),
            ("sasl.username", "bob"),
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", "/ca.pem"),
            ("ssl.endpoint.identification.algorithm", "none"),
        ];
        assert!(properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn errors_name_the_property_and_repeat_no_secret() {
        for (text, part) in [
            ("ssl.truststore.location=/trust.jks", "ssl.ca.location"),
            ("sasl.jaas.config=com.example.Kerberos required password=\"hunter2\";", "are supported"),
            ("sasl.jaas.config=password=\"hunter2\";", "are supported"),
            ("sasl.jaas.config=x.PlainLoginModule required password=\"hunter2\";", "no username"),
            ("security.protocol=SSL\nhunter2", "line 2"),
        ] {
            let error = translated(text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
    }
}
