//! Work on many items: a list in, the results in the same order out.

use std::sync::LazyLock;

use rayon::prelude::*;

/// Fewer items are not worth the start of threads.
const FEWEST: usize = 8;

/// True if threads could be started.
static HAS_THREADS: LazyLock<bool> = LazyLock::new(|| rayon::ThreadPoolBuilder::new().build_global().is_ok());

/// Applies a function to each item, on all processors if there are enough items.
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, of: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    if items.len() < FEWEST || !*HAS_THREADS {
        return items.into_iter().map(of).collect();
    }
    items.into_par_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_their_items() {
        for count in [0, 1, FEWEST, 1000] {
            let doubled = map((0..count).collect(), |item| item * 2);
            assert!(doubled.iter().copied().eq((0..count).map(|item| item * 2)), "{count} items");
        }
    }
}
