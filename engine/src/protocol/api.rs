//! The requests that are made, and in which version: what a broker supports in, the version to use out.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::cursor::{Cursor, Malformed};
use super::encoder::Encoder;

/// A request type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Api {
    Fetch,
    Metadata,
    SaslHandshake,
    /// The request types of a broker (`ApiVersions`).
    Versions,
    SaslAuthenticate,
}

impl Api {
    /// The number of the request type.
    fn key(self) -> i16 {
        match self {
            Self::Fetch => 1,
            Self::Metadata => 3,
            Self::SaslHandshake => 17,
            Self::Versions => 18,
            Self::SaslAuthenticate => 36,
        }
    }

    /// The versions that this client can write and read. Kafka 2.1 has the first ones.
    fn versions(self) -> RangeInclusive<i16> {
        match self {
            Self::Fetch => 10..=16,
            Self::Metadata => 7..=12,
            Self::SaslHandshake => 1..=1,
            Self::Versions => 0..=0,
            Self::SaslAuthenticate => 0..=2,
        }
    }

    /// Returns true if the version has compact lengths and tagged fields.
    pub(super) fn is_flexible(self, version: i16) -> bool {
        match self {
            Self::Fetch => version >= 12,
            Self::Metadata => version >= 9,
            Self::SaslHandshake => false,
            Self::Versions => version >= 3,
            Self::SaslAuthenticate => version >= 2,
        }
    }
}

/// A request in one version, without the header.
pub(crate) struct Request {
    pub api: Api,
    pub version: i16,
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the bytes on the wire: length, header and body.
    pub(crate) fn frame(&self, correlation_id: i32, client_id: &str) -> Vec<u8> {
        let flexible = self.api.is_flexible(self.version);
        let mut encoder = Encoder::new(flexible);
        encoder.i16(self.api.key());
        encoder.i16(self.version);
        encoder.i32(correlation_id);
        encoder.plain_string(client_id);
        encoder.no_tags();
        let header = encoder.into_bytes();
        let length = i32::try_from(header.len() + self.body.len()).expect("requests are short");
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend(header);
        frame.extend(&self.body);
        frame
    }
}

/// Reads the header of an answer. Returns the number of the request.
///
/// # Errors
/// If the bytes are too few.
pub(crate) fn read_header(cursor: &mut Cursor<'_>, api: Api, version: i16) -> Result<i32, Malformed> {
    let correlation_id = cursor.i32("the correlation id")?;
    // The answer to ApiVersions never has tagged fields in its header: its version may be unknown.
    cursor.skip_tags(api != Api::Versions && api.is_flexible(version))?;
    Ok(correlation_id)
}

/// The request for what a broker supports.
pub(crate) fn api_versions() -> Request {
    Request { api: Api::Versions, version: 0, body: Vec::new() }
}

/// The versions that a broker supports, by request type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    /// Reads the answer to [`api_versions`]: an error code and the versions.
    ///
    /// # Errors
    /// If the bytes are no such answer.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<(i16, Self), Malformed> {
        let error = cursor.i16("the error code")?;
        let versions = cursor.items(false, "the request types", |cursor| {
            let key = cursor.i16("a request type")?;
            Ok((key, (cursor.i16("its first version")?, cursor.i16("its last version")?)))
        })?;
        Ok((error, Self(versions.into_iter().collect())))
    }

    /// Returns the newest version that both sides support.
    pub(crate) fn of(&self, api: Api) -> Option<i16> {
        let (first, last) = self.0.get(&api.key())?;
        let ours = api.versions();
        let version = (*last).min(*ours.end());
        (version >= *first && version >= *ours.start()).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_used() {
        let versions = |first, last| Versions([(1, (first, last))].into()).of(Api::Fetch);
        assert_eq!(versions(4, 18), Some(16));
        assert_eq!(versions(0, 11), Some(11));
        assert_eq!((versions(0, 9), versions(17, 20)), (None, None));
        assert_eq!(Versions::default().of(Api::Fetch), None);
    }

    #[test]
    fn a_request_begins_with_its_length() {
        let frame = api_versions().frame(7, "me");
        assert_eq!(frame, [0, 0, 0, 12, 0, 18, 0, 0, 0, 0, 0, 7, 0, 2, b'm', b'e']);
    }
}
