//! Wakers that remember that they were woken.
//!
//! One task polls several things; each gets a waker of its own, so that only what
//! has news is looked at again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
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
        // Most often it was not: reading takes the cache line from nobody.
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// Until it is taken, it wakes nobody: its task looks anyway.
    pub(super) fn hush(&self) {
        self.rung.store(true, Ordering::Release);
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

/// A future that is polled when it is woken, and not whenever its task is.
pub(super) struct Resting<T> {
    future: BoxFuture<'static, T>,
    task: Arc<AtomicWaker>,
    signal: Arc<Signal>,
    waker: Waker,
}

impl<T> Resting<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let task = Arc::<AtomicWaker>::default();
        let signal = Signal::new(&task);
        Self { future: Box::pin(future), waker: Arc::clone(&signal).into(), task, signal }
    }
}

impl<T> Future for Resting<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        this.task.register(cx.waker());
        if this.signal.take() {
            this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
        } else {
            Poll::Pending
        }
    }
}
