//! Messages of the client in as they come, out in their turn; requests that were cancelled before it are named.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use lsp_server::{Connection, Message, RequestId};

/// The messages that have arrived.
pub(crate) struct Inbox {
    arriving: Receiver<Message>,
    waiting: VecDeque<Message>,
}

impl Inbox {
    /// Takes every message at once. A client that is not waited for cannot fill a pipe while the server fills another, and
    /// a cancellation is seen before the request that it is about has its turn.
    pub(crate) fn of(connection: &Connection) -> Self {
        let (sender, arriving) = channel();
        let messages = connection.receiver.clone();
        let waiting = messages.try_iter().collect();
        thread::spawn(move || {
            for message in messages {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self { arriving, waiting }
    }

    /// Returns the next message if one has arrived.
    pub(crate) fn next(&mut self) -> Option<Message> {
        self.waiting.extend(self.arriving.try_iter());
        self.waiting.pop_front()
    }

    /// Waits for the next message. Returns `None` if the client is gone.
    pub(crate) fn wait(&mut self) -> Option<Message> {
        let first = self.arriving.recv().ok()?;
        self.waiting.push_back(first);
        self.next()
    }

    /// Removes the requests that the client has cancelled, and returns their ids.
    pub(crate) fn take_cancelled(&mut self) -> Vec<RequestId> {
        self.waiting.extend(self.arriving.try_iter());
        let cancelled: Vec<_> = self.waiting.iter().filter_map(cancelled).collect();
        let mut is_removed = |id: &RequestId| {
            let is_it = |message: &Message| matches!(message, Message::Request(request) if request.id == *id);
            let index = self.waiting.iter().position(is_it);
            index.and_then(|index| self.waiting.remove(index)).is_some()
        };
        cancelled.into_iter().filter(|id| is_removed(id)).collect()
    }
}

/// The request that a message cancels.
fn cancelled(message: &Message) -> Option<RequestId> {
    let Message::Notification(notification) = message else { return None };
    let is_cancel = notification.method == "$/cancelRequest";
    is_cancel.then(|| serde_json::from_value(notification.params["id"].clone()).ok())?
}
