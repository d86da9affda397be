//! A ring with a fixed number of batches. A batch is reused after the last other reference to it was dropped.

use std::sync::Arc;

use super::Batch;

/// The sealed batches of a builder.
#[derive(Debug)]
pub(super) struct Ring {
    sealed: Vec<Arc<Batch>>,
    /// The maximum number of batches, including the open one.
    most: usize,
    /// The number of batches that were created.
    made: usize,
}

impl Ring {
    pub(super) fn new(batches: usize) -> Self {
        assert!(batches > 0, "a ring has at least one batch");
        Self { sealed: Vec::new(), most: batches, made: 0 }
    }

    /// Adds a sealed batch.
    pub(super) fn sealed(&mut self, batch: &Arc<Batch>) {
        self.sealed.push(Arc::clone(batch));
    }

    /// Takes a batch without other references, or creates one if the maximum number is not reached.
    pub(super) fn take(&mut self) -> Option<Arc<Batch>> {
        let free = |batch: &mut Arc<Batch>| {
            // Batches that were picked from this one share its payload and may outlive it.
            let payload = Arc::get_mut(batch).and_then(|batch| batch.payload.as_mut());
            payload.is_some_and(|payload| Arc::get_mut(payload).is_some())
        };
        if let Some(index) = self.sealed.iter_mut().position(free) {
            return Some(self.sealed.swap_remove(index));
        }
        (self.made < self.most).then(|| {
            self.made += 1;
            Arc::default()
        })
    }
}
