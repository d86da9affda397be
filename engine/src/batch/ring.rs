//! A fixed number of batches, each filled again when nobody refers to it any more.

use std::sync::Arc;

use super::Batch;

/// The batches of a builder that were sealed.
#[derive(Debug)]
pub(super) struct Ring {
    sealed: Vec<Arc<Batch>>,
    /// The largest number of batches, the open one included.
    most: usize,
    /// The number of batches that were made.
    made: usize,
}

impl Ring {
    pub fn new(batches: usize) -> Self {
        assert!(batches > 0, "a ring has a batch");
        Self { sealed: Vec::with_capacity(batches), most: batches, made: 0 }
    }

    /// Adds a batch that was sealed.
    pub fn sealed(&mut self, batch: &Arc<Batch>) {
        self.sealed.push(Arc::clone(batch));
    }

    /// Takes a batch that nobody refers to, or a new one while there may be more.
    pub fn take(&mut self) -> Option<Arc<Batch>> {
        let free = |batch: &mut Arc<Batch>| {
            // Parts of a batch share its payload and may outlive it.
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
