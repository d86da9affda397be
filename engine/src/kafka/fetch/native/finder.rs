//! The thread that finds the leaders of partitions: a topic in, the threads of its brokers out.
#![allow(clippy::disallowed_methods, reason = "leaders are asked for again after a while")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::broker::{self, code};
use super::health::Health;
use super::shared::Shared;
use crate::kafka::connection::{Address, Connection, ConnectionError};
use crate::kafka::error::{Class, class};
use crate::kafka::hint;
use crate::protocol::api::Api;
use crate::protocol::metadata::{self, TopicMetadata};

/// The longest time between two searches for a leader.
const MOST_RETRY: Duration = Duration::from_secs(1);

/// The longest time to connect to a broker, and to wait for its answer: there are others.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// Finds leaders until the fetcher is closed.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut finder = Finder { shared, asked: 0, threads: BTreeSet::new() };
    let mut retry = shared.config.retry;
    while shared.wait(shared.config.refresh, |state| state.wants_leaders) {
        if finder.find() {
            retry = shared.config.retry;
        } else {
            if !shared.wait(retry, |_| false) {
                return;
            }
            retry = (retry * 2).min(MOST_RETRY.max(shared.config.retry));
        }
    }
}

struct Finder<'a> {
    shared: &'a Arc<Shared>,
    /// The number of times that brokers were asked.
    asked: usize,
    /// The brokers that have a thread.
    threads: BTreeSet<i32>,
}

impl Finder<'_> {
    /// Returns false if leaders are still unknown.
    fn find(&mut self) -> bool {
        let answer = self.ask();
        self.shared.closed(None);
        // The next one: this one may be gone, or lag behind.
        self.asked += 1;
        let now = Instant::now();
        let (is_found, told, brokers) = self.shared.change(|state| match &answer {
            Ok(metadata) => {
                let (without, mut told) = state.leaders(metadata, now);
                if !without.is_empty() {
                    told.extend(state.leaders_unknown(&health_of(metadata), now));
                }
                (without.is_empty(), told, state.asked_brokers())
            }
            Err(error) => {
                let health = Health::unavailable(format!("no broker names the leader: {error}"));
                (false, state.leaders_unknown(&health, now), Vec::new())
            }
        });
        self.shared.tell(told);
        let spawned = brokers.into_iter().filter(|broker| !self.spawn(*broker)).count() == 0;
        if !spawned {
            self.shared.change(|state| state.wants_leaders = true);
        }
        is_found && spawned
    }

    /// Starts the thread of a broker. Returns false if that is not possible now.
    fn spawn(&mut self, broker: i32) -> bool {
        if self.threads.contains(&broker) {
            return true;
        }
        let shared = Arc::clone(self.shared);
        let name = format!("velo-fetch-{broker}");
        let work = move || shared.guard(|| broker::run(&shared, broker));
        match thread::Builder::new().name(name).spawn(work) {
            Ok(_) => self.threads.insert(broker),
            Err(error) => {
                tracing::warn!("no thread for broker {broker}: {error}");
                false
            }
        }
    }

    fn ask(&self) -> Result<TopicMetadata, ConnectionError> {
        let shared = self.shared;
        let topic = shared.state().topic.name.clone();
        let address = self.next_address()?;
        let options = shared.config.connection.within(MOST_WAIT);
        let opened = |interrupt| shared.opened(None, interrupt);
        let mut connection = Connection::open(&address, &options, shared.pool.clone(), opened)?;
        let version = connection.version(Api::Metadata)?;
        connection.send(&metadata::request(version, &topic))?;
        let response = connection.receive(Duration::ZERO)?;
        Ok(metadata::read(&mut response.cursor(), response.version, &topic)?)
    }

    /// Returns the next of the brokers that are known, and of those that the user has named.
    fn next_address(&self) -> Result<Address, ConnectionError> {
        let mut addresses = self.shared.config.bootstrap.clone();
        addresses.extend(self.shared.state().addresses.values().cloned());
        let index = self.asked % addresses.len().max(1);
        let missing =
            || std::io::Error::new(std::io::ErrorKind::NotFound, "bootstrap.servers names no broker");
        Ok(addresses.into_iter().nth(index).ok_or_else(missing)?)
    }
}

/// Returns why partitions have no leader.
fn health_of(metadata: &TopicMetadata) -> Health {
    let errors = std::iter::once(metadata.error).chain(metadata.leaders.iter().map(|leader| leader.error));
    let code = errors.map(code).find(|code| *code != Code::NoError).unwrap_or(Code::LeaderNotAvailable);
    let reason = format!("no leader is known: {code}");
    if class(code) == Class::Unauthorized {
        Health::Failed(format!("{reason}{}", hint(Some(code), "")))
    } else {
        Health::unavailable(reason)
    }
}
