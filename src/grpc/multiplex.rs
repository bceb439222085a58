//! A connection and its streams in one task.
//!
//! hyper gives every stream of HTTP/2 a task of its own. Here the task of the
//! connection runs them: what a stream hands out is written in the same turn,
//! without waking a second task, which is a good part of what a delivery costs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::task::AtomicWaker;
use hyper::rt::Executor;
use parking_lot::Mutex;

use super::signal::Signal;
use super::watchdog::Watchdog;

/// Takes the streams of one connection from hyper.
#[derive(Clone, Default)]
pub(super) struct Streams {
    new: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
}

impl<F: Future + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.new.lock().push(Box::pin(Watchdog::carry(stream)));
    }
}

/// A connection together with the streams that it hands to [`Streams`].
pub(super) struct Multiplexed<C> {
    connection: Pin<Box<C>>,
    streams: FuturesUnordered<BoxFuture<'static, ()>>,
    new: Streams,
    task: Arc<AtomicWaker>,
    signal: Arc<Signal>,
    waker: Waker,
}

impl<C: Future> Multiplexed<C> {
    pub(super) fn new(connection: C, new: Streams) -> Self {
        let task = Arc::<AtomicWaker>::default();
        let signal = Signal::new(&task);
        let waker = Arc::clone(&signal).into();
        Self { connection: Box::pin(connection), streams: FuturesUnordered::new(), new, task, signal, waker }
    }

    pub(super) fn connection(&mut self) -> Pin<&mut C> {
        // Whatever is done to it, it looks again.
        self.signal.hush();
        self.connection.as_mut()
    }
}

impl<C: Future> Future for Multiplexed<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = &mut *self;
        this.task.register(cx.waker());
        loop {
            // A stream that hands something out wakes the connection, which comes next anyway.
            this.signal.hush();
            while let Poll::Ready(Some(())) = this.streams.poll_next_unpin(cx) {}
            this.signal.take();
            let ended = this.connection.as_mut().poll(&mut Context::from_waker(&this.waker));
            if ended.is_ready() {
                return ended;
            }
            let mut new = this.new.new.lock();
            if new.is_empty() {
                return Poll::Pending;
            }
            this.streams.extend(new.drain(..));
        }
    }
}
