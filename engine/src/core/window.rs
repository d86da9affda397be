//! Values in flight by batch id. Ids are assigned in order, so the map is a queue with holes. It allocates only when
//! more values are in flight than ever before.

use std::collections::VecDeque;

use crate::ids::BatchId;

/// A map from batch ids to values.
#[derive(Debug)]
pub(super) struct Window<T> {
    /// The id of the first slot.
    base: u32,
    slots: VecDeque<Option<T>>,
    len: usize,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { base: 0, slots: VecDeque::new(), len: 0 }
    }
}

impl<T> Window<T> {
    /// Adds a value under the next id. Ids wrap around after 2^32.
    pub(super) fn push(&mut self, value: T) -> BatchId {
        let offset = u32::try_from(self.slots.len()).expect("fewer than 2^32 are in flight");
        self.slots.push_back(Some(value));
        self.len += 1;
        BatchId(self.base.wrapping_add(offset))
    }

    fn index(&self, id: BatchId) -> usize {
        id.0.wrapping_sub(self.base) as usize
    }

    pub(super) fn get(&self, id: BatchId) -> Option<&T> {
        self.slots.get(self.index(id))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: BatchId) -> Option<&mut T> {
        let index = self.index(id);
        self.slots.get_mut(index)?.as_mut()
    }

    pub(super) fn remove(&mut self, id: BatchId) -> Option<T> {
        let index = self.index(id);
        let removed = self.slots.get_mut(index)?.take()?;
        self.len -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base = self.base.wrapping_add(1);
        }
        Some(removed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (BatchId, &T)> {
        let numbered = self.slots.iter().zip(0_u32..);
        numbered.filter_map(|(slot, n)| Some((BatchId(self.base.wrapping_add(n)), slot.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_in_any_order_is_gone_and_the_rest_stays() {
        let mut window = Window { base: u32::MAX - 1, ..Window::default() };
        let ids: Vec<_> = (0..4).map(|n| window.push(n)).collect();
        assert_eq!(ids[2], BatchId(0), "ids wrap around");
        assert_eq!(window.remove(ids[1]), Some(1));
        assert_eq!((window.remove(ids[1]), window.get(ids[1])), (None, None));
        assert_eq!(window.iter().collect::<Vec<_>>(), [(ids[0], &0), (ids[2], &2), (ids[3], &3)]);
        assert_eq!(window.remove(ids[0]), Some(0));
        assert_eq!((window.base, window.slots.len()), (0, 2), "leading holes are removed");
        assert_eq!(window.push(4), BatchId(2));
        for id in [ids[2], ids[3], BatchId(2)] {
            assert!(!window.is_empty() && window.remove(id).is_some());
        }
        assert!(window.is_empty() && window.get(ids[3]).is_none());
    }
}
