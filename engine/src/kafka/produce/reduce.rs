//! Reduces dead letters that their queue has rejected: a reduction and headers in, fewer headers out.

use rdkafka::message::{Header, Headers as _, OwnedHeaders};

use crate::dead_letter::keeps;

/// Returns the timestamp and the headers with which a rejected dead letter is sent again. The timestamp is `None`: the
/// queue sets its own.
pub(super) fn reduced(reduction: u8, headers: Option<&OwnedHeaders>) -> (Option<i64>, Option<OwnedHeaders>) {
    let reduced = headers.map(|headers| {
        let kept = headers.iter().filter(|header| keeps(reduction, header.key));
        kept.fold(OwnedHeaders::new(), |all, Header { key, value }| all.insert(Header { key, value }))
    });
    (None, reduced.filter(|headers| headers.count() > 0))
}
