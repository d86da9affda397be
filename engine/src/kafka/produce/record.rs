//! Records as the client takes them: a row and its output in, a record out.

use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::alone::Single;
use super::deliveries::pack;
use super::target::Target;
use crate::batch::Batch;
use crate::ids::LaneName;
use crate::process::OutputRecord;
use crate::sink::Ticket;

/// Returns a record to be sent in a request of its own.
pub(super) fn single(record: BaseRecord<'_, [u8], [u8], usize>) -> Single<'_> {
    Single {
        partition: record.partition,
        key: record.key,
        value: record.payload,
        timestamp_ms: record.timestamp,
        headers: record.headers,
    }
}

/// Returns an upper bound on the number of bytes of a record that is sent in a separate batch.
pub(super) fn size(record: &BaseRecord<'_, [u8], [u8], usize>) -> u64 {
    const OVERHEAD: usize = 61 + 40;
    const HEADER_OVERHEAD: usize = 10;
    let headers = record.headers.iter().flat_map(|headers| headers.iter());
    let headers: usize =
        headers.map(|header| HEADER_OVERHEAD + header.key.len() + header.value.map_or(0, <[u8]>::len)).sum();
    (OVERHEAD + headers + record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len)) as u64
}

/// Returns the record for a row.
pub(super) fn record<'a>(
    target: &'a Target,
    ticket: Ticket,
    origin: &LaneName,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut record = BaseRecord::with_opaque_to(&target.topic, pack(ticket));
    record.key = key;
    record.payload = value;
    record.partition = target.partition(origin);
    record
}

/// The output record of a row.
pub(super) struct Parts<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

impl<'a> Parts<'a> {
    pub(super) fn of(batch: &'a Batch, row: u32, output: OutputRecord<'a>) -> Self {
        let of_input = batch.headers(row);
        match output {
            OutputRecord::Forward => Self { key: batch.key(row), value: batch.value(row), headers: of_input },
            OutputRecord::New { key, value, headers } => {
                Self { key, value, headers: headers.map_or(of_input, Vec::as_slice) }
            }
        }
    }
}

pub(super) fn owned_headers(headers: &[(String, Option<Vec<u8>>)], more: usize) -> OwnedHeaders {
    let start = OwnedHeaders::new_with_capacity(headers.len() + more);
    headers.iter().fold(start, |all, (key, value)| all.insert(Header { key, value: value.as_ref() }))
}
