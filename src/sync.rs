//! Locks and atomics of the update path.
//!
//! Under the feature `shuttle` they are those of the model checker, which switches
//! threads at each of them and knows nothing of others; they work in its models only. In other debug builds
//! the work under them is counted (`starling_core::steps`).

#[cfg(not(any(feature = "shuttle", all(debug_assertions, not(clippy)))))]
pub(crate) use parking_lot::Mutex;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::atomic;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::atomic;

// Clippy sees the plain lock, which it knows not to be held over an await.
#[cfg(all(debug_assertions, not(any(feature = "shuttle", clippy))))]
mod counted_lock;

#[cfg(all(debug_assertions, not(any(feature = "shuttle", clippy))))]
pub(crate) use counted_lock::Mutex;

#[cfg(test)]
#[cfg(feature = "shuttle")]
pub(crate) mod model;
#[cfg(test)]
pub(crate) mod woken;

/// Shuttle's, in the shape of that of parking_lot.
#[cfg(feature = "shuttle")]
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

#[cfg(feature = "shuttle")]
impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn try_lock(&self) -> Option<shuttle::sync::MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
