//! A waker that remembers what it was woken for.
//!
//! One task polls several things. What has no news is not looked at again: with
//! thousands of connections each look is a walk through cold memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;

/// Wakes its task, and remembers for which of two things; one cache line.
#[derive(Debug)]
pub(super) struct Signal {
    rung: AtomicBool,
    aside: AtomicBool,
    task: AtomicWaker,
}

impl Signal {
    /// Rung at first, so that nothing is missed.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { rung: AtomicBool::new(true), aside: AtomicBool::new(true), task: AtomicWaker::new() })
    }

    /// Notes the task to wake.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// True when it was rung since the last call.
    pub(super) fn take(&self) -> bool {
        take(&self.rung)
    }

    /// True when [`Self::aside`] was rung since the last call.
    pub(super) fn take_aside(&self) -> bool {
        take(&self.aside)
    }

    /// The waker of the other thing.
    pub(super) fn aside(self: &Arc<Self>) -> Waker {
        Arc::new(Aside(Arc::clone(self))).into()
    }

    fn ring(&self, flag: &AtomicBool) {
        if !flag.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}

fn take(flag: &AtomicBool) -> bool {
    // Most often it was not: reading takes the line from nobody.
    flag.load(Ordering::Acquire) && flag.swap(false, Ordering::AcqRel)
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring(&self.rung);
    }
}

/// A future that is polled when it is woken, and not whenever its task is.
pub(super) struct Resting<T> {
    future: BoxFuture<'static, T>,
    signal: Arc<Signal>,
    waker: Waker,
}

impl<T> Resting<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let signal = Signal::new();
        Self { future: Box::pin(future), waker: Arc::clone(&signal).into(), signal }
    }
}

impl<T> Future for Resting<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        this.signal.register(cx.waker());
        if !this.signal.take() {
            return Poll::Pending;
        }
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

struct Aside(Arc<Signal>);

impl Wake for Aside {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring(&self.0.aside);
    }
}
