//! Serves the metrics and the health of a job over HTTP: `/metrics` for Prometheus, `/healthz`, `/readyz`.
#![allow(clippy::disallowed_methods, reason = "health depends on the age of the last update")]

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tiny_http::{Header, Response, Server};
use velo_engine::ids::LaneName;
use velo_engine::kafka::Choice;
use velo_engine::memory::MemoryBudget;
use velo_engine::report::Buckets;
use velo_engine::{Lag, Progress};
use velo_schema::Tier;

/// A job is unhealthy if its poll loop has made no progress for this time.
const SILENCE: Duration = Duration::from_secs(30);

/// A bound address that is not served yet.
pub(crate) struct Listener {
    server: Server,
    address: SocketAddr,
}

impl Listener {
    /// Binds an address.
    ///
    /// # Errors
    /// If the address is invalid or in use.
    pub(crate) fn bind(address: &str) -> Result<Self> {
        let failed = |error| anyhow!("--metrics {address}: {error}");
        let server = Server::http(address).map_err(failed)?;
        let bound =
            server.server_addr().to_ip().ok_or_else(|| anyhow!("--metrics {address}: not an IP address"))?;
        Ok(Self { server, address: bound })
    }

    /// Returns the bound address, with the port that the system has chosen for port 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The latest progress of a job, with the time of the update.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<Option<(Instant, Progress)>>>);

impl Metrics {
    /// Stores the progress of a job.
    pub(crate) fn update(&self, progress: &Progress) {
        let progress = Progress { notices: Vec::new(), ..progress.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), progress));
    }

    fn newest(&self) -> Option<(Instant, Progress)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_healthy(&self) -> bool {
        self.newest().is_some_and(|(at, _)| at.elapsed() < SILENCE)
    }

    fn is_ready(&self) -> bool {
        self.newest().is_some_and(|(_, progress)| progress.is_ready)
    }

    /// Serves requests on a thread until the process ends.
    pub(crate) fn serve(&self, Listener { server, .. }: Listener, memory: MemoryBudget, choice: Choice) {
        let mut registry = Registry::with_prefix("velo");
        registry.register_collector(Box::new(Job { metrics: self.clone(), memory, choice }));
        let metrics = self.clone();
        std::thread::spawn(move || {
            for request in server.incoming_requests() {
                let (status, text) = metrics.answer(request.url(), &registry);
                let kind =
                    if request.url() == "/metrics" { OPEN_METRICS } else { "text/plain; charset=utf-8" };
                let header = Header::from_bytes("Content-Type", kind).expect("a header of ASCII");
                let answer = Response::from_string(text).with_status_code(status).with_header(header);
                // The client may have disconnected.
                let _ = request.respond(answer);
            }
        });
    }

    fn answer(&self, path: &str, registry: &Registry) -> (u16, String) {
        let state =
            |is_so: bool, no: &str| if is_so { (200, "ok\n".to_owned()) } else { (503, no.to_owned()) };
        match path {
            "/metrics" => {
                let mut text = String::new();
                match encode(&mut text, registry) {
                    Ok(()) => (200, text),
                    Err(error) => (500, error.to_string()),
                }
            }
            "/healthz" => state(self.is_healthy(), "the poll loop has made no progress for 30 s\n"),
            "/readyz" => state(self.is_ready(), "the group has not assigned partitions yet\n"),
            _ => (404, "not found; available paths are /metrics, /healthz and /readyz\n".to_owned()),
        }
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Encodes the progress of a job as metrics.
#[derive(Debug)]
struct Job {
    metrics: Metrics,
    memory: MemoryBudget,
    choice: Choice,
}

/// Encodes metric families one after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<&Unit>,
        kind: MetricType,
        write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(self.0.encode_descriptor(name, help, unit, kind)?)
    }

    fn counter(&mut self, name: (&str, &str), unit: Option<&Unit>, value: u64) -> fmt::Result {
        self.family(name, unit, MetricType::Counter, |metric| ConstCounter::new(value).encode(metric))
    }

    fn gauge(&mut self, name: (&str, &str), unit: Option<&Unit>, value: u64) -> fmt::Result {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.family(name, unit, MetricType::Gauge, |metric| ConstGauge::new(value).encode(metric))
    }

    fn counters(&mut self, name: (&str, &str), label: &str, values: &[(String, u64)]) -> fmt::Result {
        self.family(name, None, MetricType::Counter, |mut metric| {
            values.iter().try_for_each(|(word, value)| {
                let labels = [(label, word.as_str())];
                ConstCounter::new(*value).encode(metric.encode_family(&labels)?)
            })
        })
    }

    fn histogram(&mut self, name: (&str, &str), unit: Option<&Unit>, values: &Buckets) -> fmt::Result {
        self.family(name, unit, MetricType::Histogram, |mut metric| {
            metric.encode_histogram::<NoLabelSet>(values.sum, values.count, &values.counts, None)
        })
    }
}

/// Returns a text as the value of a label. The encoder writes it as it is.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Collector for Job {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some((_, progress)) = self.metrics.newest() else { return Ok(()) };
        let Progress { ledger, counters, .. } = &progress;
        let mut all = Families(encoder);
        let named = |values: &[(&str, u64)]| -> Vec<(String, u64)> {
            values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        all.counter(("records_delivered", "Records read from the source"), None, ledger.delivered)?;
        let states = [("ok", ledger.ok), ("skipped", ledger.skipped), ("dlq", ledger.dlq)];
        all.counters(("records_settled", "Settled records by outcome"), "state", &named(&states))?;
        let offsets = [("gap", ledger.gaps), ("lost", ledger.lost)];
        all.counters(
            (
                "offsets_without_record",
                "Offsets without a record: gaps, and records that were deleted before they were read",
            ),
            "reason",
            &named(&offsets),
        )?;
        all.counter(
            ("payload", "Bytes of keys and values read from the source"),
            Some(&Unit::Bytes),
            counters.bytes,
        )?;
        let calls = [("records", counters.calls.0), ("nothing", counters.calls.1)];
        all.counters(("dequeue_calls", "Calls to the fetcher by result"), "returned", &named(&calls))?;
        let batches: Vec<_> =
            counters.batches.iter().map(|(reason, count)| (reason.to_string(), *count)).collect();
        all.counters(("batches", "Batches by the reason for sealing"), "reason", &batches)?;
        all.counter(("batch_retries", "Retries of batches"), None, counters.retries)?;
        all.histogram(("batch_records", "Records per batch"), None, &counters.batch_records)?;
        all.histogram(
            ("record_latency", "Time from the timestamp of a record until it is settled"),
            Some(&Unit::Seconds),
            &counters.latency_s,
        )?;
        all.histogram(
            ("added_latency", "Time from taking a fetched record until it is settled"),
            Some(&Unit::Seconds),
            &counters.added_latency_s,
        )?;
        all.gauge(
            ("batch_size_records", "Current maximum number of records per batch"),
            None,
            progress.batch_size,
        )?;
        all.gauge(
            ("buffered_tier", "1 if records are read in batches, 0 if one by one"),
            None,
            u64::from(progress.tier == Tier::Buffered),
        )?;
        all.gauge(
            ("in_flight", "Payload of records that are read and not settled"),
            Some(&Unit::Bytes),
            progress.bytes_in_flight,
        )?;
        let Choice { fetching, reason } = &self.choice;
        let fetcher =
            [("name", fetching.to_string()), ("reason", escaped(reason.as_deref().unwrap_or_default()))];
        all.family(
            ("fetcher", "What fetches the records, and why it is not native"),
            None,
            MetricType::Info,
            |mut metric| metric.encode_info(&fetcher),
        )?;
        if let Some(limit) = self.memory.limit_bytes {
            all.gauge(("memory_limit", "Limit of the memory for records"), Some(&Unit::Bytes), limit)?;
        }
        let mut lag = |name: (&str, &str), of: fn(&Lag) -> u64| {
            all.family(name, None, MetricType::Gauge, |mut metric| {
                progress.lag.iter().try_for_each(|lag| {
                    let LaneName { topic, partition } = &lag.partition;
                    let labels = [("topic", topic.to_string()), ("partition", partition.to_string())];
                    let records = i64::try_from(of(lag)).unwrap_or(i64::MAX);
                    ConstGauge::new(records).encode(metric.encode_family(&labels)?)
                })
            })
        };
        lag(("lag_records", "Readable records that are not settled"), |lag| lag.records)?;
        lag(("lag_unstable_records", "Records that cannot be read until an open transaction ends"), |lag| {
            lag.unstable_records
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_no_character_that_ends_it() {
        assert_eq!(escaped("a \"b\" \\ c\nd"), "a \\\"b\\\" \\\\ c\\nd");
    }
}
