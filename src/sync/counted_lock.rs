//! A lock that says when it is held, for debug builds.

use std::ops::{Deref, DerefMut};

use starling_core::steps::{Hold, hold};

/// That of parking_lot; the work under it is counted.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

/// What is locked.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    // Given back before the work is added up.
    guard: parking_lot::MutexGuard<'a, T>,
    _hold: Hold,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { guard: self.0.lock(), _hold: hold() }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().map(|guard| MutexGuard { guard, _hold: hold() })
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
