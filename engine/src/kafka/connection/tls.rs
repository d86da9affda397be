//! TLS: properties of the client in, encrypted streams out. The properties mean what they mean to librdkafka, which uses
//! the same library.
#![allow(clippy::disallowed_types, reason = "it is the connection")]
#![allow(clippy::disallowed_methods, reason = "certificates are files")]

use std::net::{IpAddr, TcpStream};
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::X509;
use rdkafka::ClientConfig;

use super::ConnectionError;
use super::properties::{is, is_false};
use crate::kafka::KafkaError;

/// An encrypted stream.
pub(super) type Encrypted = SslStream<TcpStream>;

/// How connections are encrypted.
#[derive(Clone)]
pub(super) struct Tls {
    context: SslContext,
    /// True if the certificate must name the host of the broker.
    names_host: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("names_host", &self.names_host).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificates and keys that the properties name.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(super) fn of(config: &ClientConfig) -> Result<Self, KafkaError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| KafkaError::new(format!("{what}: {error}"));
        let get = |name| config.get(name).filter(|value| !value.is_empty());
        let mut builder =
            SslContextBuilder::new(SslMethod::tls_client()).map_err(|error| failed("TLS", &error))?;
        let is_verified = !is_false(config, "enable.ssl.certificate.verification");
        builder.set_verify(if is_verified { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
        for (name, set) in [
            ("ssl.cipher.suites", SslContextBuilder::set_cipher_list as fn(&mut _, &str) -> _),
            ("ssl.curves.list", SslContextBuilder::set_groups_list),
            ("ssl.sigalgs.list", SslContextBuilder::set_sigalgs_list),
        ] {
            if let Some(value) = get(name) {
                set(&mut builder, value).map_err(|error| failed(name, &error))?;
            }
        }
        trust(&mut builder, get("ssl.ca.location"), get("ssl.ca.pem"))?;
        if let Some(path) = get("ssl.certificate.location") {
            builder
                .set_certificate_chain_file(path)
                .map_err(|error| failed("ssl.certificate.location", &error))?;
        }
        if let Some(pem) = get("ssl.certificate.pem") {
            chain(&mut builder, pem).map_err(|error| failed("ssl.certificate.pem", &error))?;
        }
        let password = get("ssl.key.password").unwrap_or_default();
        if let Some(path) = get("ssl.key.location") {
            let pem = std::fs::read(path).map_err(|error| failed("ssl.key.location", &error))?;
            key(&mut builder, &pem, password).map_err(|error| failed("ssl.key.location", &error))?;
        }
        if let Some(pem) = get("ssl.key.pem") {
            key(&mut builder, pem.as_bytes(), password).map_err(|error| failed("ssl.key.pem", &error))?;
        }
        if let Some(path) = get("ssl.keystore.location") {
            let bytes = std::fs::read(path).map_err(|error| failed("ssl.keystore.location", &error))?;
            let password = get("ssl.keystore.password").unwrap_or_default();
            keystore(&mut builder, &bytes, password)
                .map_err(|error| failed("ssl.keystore.location", &error))?;
        }
        let names_host = is_verified && !is(config, "ssl.endpoint.identification.algorithm", "none");
        Ok(Self { context: builder.build(), names_host })
    }

    /// Encrypts a connection to a host.
    ///
    /// # Errors
    /// If the broker is not trusted, or does not speak TLS.
    pub(super) fn connect(&self, host: &str, stream: TcpStream) -> Result<Encrypted, ConnectionError> {
        let tls = |error: &dyn std::fmt::Display| ConnectionError::Tls(error.to_string());
        let mut ssl = Ssl::new(&self.context).map_err(|error| tls(&error))?;
        if host.is_empty() || host.starts_with('.') {
            return Err(tls(&format!("'{host}' is no host that a certificate can name")));
        }
        let address = host.parse::<IpAddr>().ok();
        if address.is_none() {
            ssl.set_hostname(host).map_err(|error| tls(&error))?;
        }
        if self.names_host {
            let param = ssl.param_mut();
            match address {
                Some(address) => param.set_ip(address),
                None => param.set_host(host),
            }
            .map_err(|error| tls(&error))?;
        }
        ssl.connect(stream).map_err(|error| tls(&error))
    }
}

/// Adds the CAs: those of both properties, or else those that OpenSSL knows.
fn trust(
    builder: &mut SslContextBuilder,
    location: Option<&str>,
    pem: Option<&str>,
) -> Result<(), KafkaError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| KafkaError::new(format!("{what}: {error}"));
    let load = |builder: &mut SslContextBuilder, path: &Path| {
        let (file, folder) = if path.is_dir() { (None, Some(path)) } else { (Some(path), None) };
        builder.load_verify_locations(file, folder).map_err(|error| failed("ssl.ca.location", &error))
    };
    match location {
        Some("probe") => {
            let found = openssl_probe::probe();
            let found = found.cert_file.or_else(|| found.cert_dir.into_iter().next());
            if let Some(path) = found {
                load(builder, &path)?;
            }
        }
        Some(path) => load(builder, Path::new(path))?,
        None if pem.is_none() => {
            builder.set_default_verify_paths().map_err(|error| failed("the CAs of OpenSSL", &error))?;
        }
        None => {}
    }
    let add = |builder: &mut SslContextBuilder, pem: &str| {
        for certificate in X509::stack_from_pem(pem.as_bytes())? {
            builder.cert_store_mut().add_cert(certificate)?;
        }
        Ok::<_, ErrorStack>(())
    };
    pem.map_or(Ok(()), |pem| add(builder, pem).map_err(|error| failed("ssl.ca.pem", &error)))
}

/// Adds the client's certificate, which comes first, and those that signed it.
fn chain(builder: &mut SslContextBuilder, pem: &str) -> Result<(), ErrorStack> {
    let mut certificates = X509::stack_from_pem(pem.as_bytes())?.into_iter();
    if let Some(certificate) = certificates.next() {
        builder.set_certificate(&certificate)?;
    }
    certificates.try_for_each(|certificate| builder.add_extra_chain_cert(certificate))
}

fn key(builder: &mut SslContextBuilder, pem: &[u8], password: &str) -> Result<(), ErrorStack> {
    let key: PKey<Private> = PKey::private_key_from_pem_passphrase(pem, password.as_bytes())?;
    builder.set_private_key(&key)
}

fn keystore(builder: &mut SslContextBuilder, bytes: &[u8], password: &str) -> Result<(), ErrorStack> {
    let parsed = Pkcs12::from_der(bytes)?.parse2(password)?;
    if let Some(certificate) = parsed.cert {
        builder.set_certificate(&certificate)?;
    }
    for certificate in parsed.ca.into_iter().flatten() {
        builder.add_extra_chain_cert(certificate)?;
    }
    parsed.pkey.map_or(Ok(()), |key| builder.set_private_key(&key))
}
