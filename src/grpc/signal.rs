//! A waker that remembers that it was woken.
//!
//! One task polls several things; each gets a waker of its own, so that only what
//! has news is looked at again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use futures_util::task::AtomicWaker;

/// Wakes its task, and remembers it.
#[derive(Debug)]
pub(super) struct Signal {
    rung: AtomicBool,
    task: Arc<AtomicWaker>,
}

impl Signal {
    /// Of a task that is registered in `task`; rung at first, so that nothing is missed.
    pub(super) fn new(task: &Arc<AtomicWaker>) -> Arc<Self> {
        Arc::new(Self { rung: AtomicBool::new(true), task: Arc::clone(task) })
    }

    /// True when it was rung since the last call.
    pub(super) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}
