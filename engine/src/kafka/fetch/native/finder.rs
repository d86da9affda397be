//! The thread that finds the leaders of partitions: a topic in, the threads of its brokers out.
#![allow(clippy::disallowed_methods, reason = "leaders are asked for again after a while")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::broker::{self, code};
use super::shared::Shared;
use super::state::Health;
use crate::kafka::connection::{Address, Connection, ConnectionError};
use crate::kafka::error::{Class, class};
use crate::kafka::hint;
use crate::protocol::api::Api;
use crate::protocol::metadata::{self, TopicMetadata};

/// The longest time between two searches for a leader.
const MOST_RETRY: Duration = Duration::from_secs(1);

/// Finds leaders until the fetcher is closed.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut finder = Finder { shared, connection: None, asked: 0, threads: BTreeSet::new() };
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
    connection: Option<Connection>,
    /// The number of brokers that were asked in vain.
    asked: usize,
    /// The brokers that have a thread.
    threads: BTreeSet<i32>,
}

impl Finder<'_> {
    /// Returns false if leaders are still unknown.
    fn find(&mut self) -> bool {
        let metadata = match self.ask() {
            Ok(metadata) => metadata,
            Err(error) => {
                self.connection = None;
                self.asked += 1;
                let health = Health::Failing(format!("no broker names the leader: {error}"));
                let lanes = self.shared.change(|state| state.leaders_unknown(&health, Instant::now()));
                self.shared.tell(lanes);
                return false;
            }
        };
        let now = Instant::now();
        let (is_found, told, brokers) = self.shared.change(|state| {
            let (without, mut told) = state.leaders(&metadata, now);
            if !without.is_empty() {
                told.extend(state.leaders_unknown(&health_of(&metadata), now));
            }
            (without.is_empty(), told, state.asked_brokers())
        });
        self.shared.tell(told);
        for broker in brokers {
            if self.threads.insert(broker) {
                let shared = Arc::clone(self.shared);
                let name = format!("velo-fetch-{broker}");
                let spawned = thread::Builder::new().name(name).spawn(move || broker::run(&shared, broker));
                if let Err(error) = spawned {
                    self.threads.remove(&broker);
                    tracing::warn!("no thread for broker {broker}: {error}");
                    return false;
                }
            }
        }
        is_found
    }

    fn ask(&mut self) -> Result<TopicMetadata, ConnectionError> {
        let shared = self.shared;
        let topic = shared.state().topic.name.clone();
        self.connection.take_if(|connection| connection.expires());
        if self.connection.is_none() {
            let address = self.next_address()?;
            let opened = |interrupt| shared.opened(None, interrupt);
            let options = &shared.config.connection;
            self.connection = Some(Connection::open(&address, options, shared.pool.clone(), opened)?);
        }
        let connection = self.connection.as_mut().ok_or(ConnectionError::OutOfOrder)?;
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
        Health::Failing(reason)
    }
}
