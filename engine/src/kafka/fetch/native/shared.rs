//! The state of a fetcher as its threads share it: a lock, and a way to wait for changes.
#![allow(clippy::disallowed_methods, reason = "fetches are repeated after a while")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::config::Config;
use super::state::{Choice, State};
use crate::ids::LaneId;
use crate::kafka::connection::Interrupt;
use crate::kafka::fetch::ready::ReadyLanes;
use crate::protocol::pool::Pool;

/// The longest time for which a thread waits at once.
const LONG: Duration = Duration::from_hours(1);

/// What the threads of a fetcher share.
pub(super) struct Shared {
    pub config: Config,
    pub ready: ReadyLanes,
    pub pool: Pool,
    state: Mutex<State>,
    changed: Condvar,
    /// The connections that are open, by the broker that they are for.
    interrupts: Mutex<BTreeMap<Option<i32>, Interrupt>>,
}

impl Shared {
    pub(super) fn new(config: Config, topic: &str, ready: ReadyLanes) -> Self {
        let state = State::new(topic, config.most_partition_bytes, config.most_queued);
        Self {
            config,
            ready,
            pool: Pool::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            interrupts: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells the threads.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.notify_all();
        result
    }

    /// Tells the poll thread that lanes have news.
    pub(super) fn tell(&self, lanes: impl IntoIterator<Item = LaneId>) {
        lanes.into_iter().for_each(|lane| self.ready.add(lane));
    }

    /// Runs the work of a thread. A panic is reported to all lanes, which would otherwise wait for ever.
    pub(super) fn guard(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            let reason = format!("a thread that fetches has failed: {text}");
            let lanes = self.change(|state| state.all_failed(&reason, Instant::now()));
            self.tell(lanes);
        }
    }

    /// Waits for `time`, or until `is_over`. Returns false if the fetcher is closed.
    pub(super) fn wait(&self, time: Duration, is_over: impl Fn(&State) -> bool) -> bool {
        let waits = |state: &mut State| !state.is_closing && !is_over(state);
        let waited = self.changed.wait_timeout_while(self.state(), time.min(LONG), waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_closing
    }

    /// Waits until there is something to ask a broker for. Returns `None` if the fetcher is closed.
    pub(super) fn wait_for_choice(&self, broker: i32) -> Option<Choice> {
        let mut state = self.state();
        while !state.is_closing {
            let now = Instant::now();
            let choice = state.choose(broker, now);
            if !choice.asked.is_empty() {
                return Some(choice);
            }
            let time = choice.again_at.map_or(LONG, |at| at.saturating_duration_since(now));
            let waited = self.changed.wait_timeout(state, time.max(Duration::from_millis(1)));
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Keeps the way to interrupt the connection to a broker, or that of the search for leaders.
    pub(super) fn opened(&self, broker: Option<i32>, interrupt: Interrupt) {
        let mut interrupts = self.interrupts.lock().unwrap_or_else(PoisonError::into_inner);
        interrupts.insert(broker, interrupt);
        drop(interrupts);
        // The fetcher may have been closed before.
        if self.state().is_closing {
            self.close();
        }
    }

    /// Forgets a connection that is no longer used. It is closed once nobody can interrupt it.
    pub(super) fn closed(&self, broker: Option<i32>) {
        self.interrupts.lock().unwrap_or_else(PoisonError::into_inner).remove(&broker);
    }

    /// Ends all threads. They may go on for as long as they connect.
    pub(super) fn close(&self) {
        self.change(|state| state.is_closing = true);
        let mut interrupts = self.interrupts.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *interrupts).values().for_each(Interrupt::interrupt);
    }
}
