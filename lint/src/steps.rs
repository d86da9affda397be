//! Counts the work of a check, so that a test can say how it grows. Builds without debug assertions
//! count nothing.

#[cfg(debug_assertions)]
mod counting {
    use std::cell::Cell;

    thread_local!(static STEPS: Cell<u64> = const { Cell::new(0) });

    /// Steps of this thread so far.
    #[must_use]
    pub fn taken() -> u64 {
        STEPS.get()
    }

    pub(crate) fn add(steps: usize) {
        STEPS.set(STEPS.get() + steps as u64);
    }
}

#[cfg(debug_assertions)]
pub(crate) use counting::add;
#[cfg(debug_assertions)]
pub use counting::taken;

#[cfg(not(debug_assertions))]
pub(crate) fn add(_: usize) {}
