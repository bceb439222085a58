//! A connection and its streams in one task.
//!
//! hyper gives every stream of HTTP/2 a task of its own. Here the task of the
//! connection runs them: what a stream hands out is written in the same turn,
//! without waking a second task, which is a good part of what a delivery costs.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
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

/// What a turn of a connection brought.
pub(super) enum Turn<T, A> {
    /// It is over.
    Ended(T),
    /// What was waited for beside it, once.
    Aside(A),
}

/// A connection together with the streams that it hands to [`Streams`].
pub(super) struct Multiplexed<C, A> {
    connection: Pin<Box<C>>,
    streams: FuturesUnordered<BoxFuture<'static, ()>>,
    new: Streams,
    aside: Option<BoxFuture<'static, A>>,
    /// Rung by the connection; aside by what is waited for beside it.
    signal: Arc<Signal>,
    wakers: (Waker, Waker),
}

impl<C: Future, A> Multiplexed<C, A> {
    pub(super) fn new(connection: C, new: Streams, aside: impl Future<Output = A> + Send + 'static) -> Self {
        let signal = Signal::new();
        let wakers = (Arc::clone(&signal).into(), signal.aside());
        let (connection, streams) = (Box::pin(connection), FuturesUnordered::new());
        Self { connection, streams, new, aside: Some(Box::pin(aside)), signal, wakers }
    }

    pub(super) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }

    /// Waits for something else from now on.
    pub(super) fn wait_beside(&mut self, aside: impl Future<Output = A> + Send + 'static) {
        self.aside = Some(Box::pin(aside));
        self.wakers.1.wake_by_ref();
    }

    /// Serves until there is something to decide.
    pub(super) async fn turn(&mut self) -> Turn<C::Output, A> {
        poll_fn(|cx| self.poll_turn(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn<C::Output, A>> {
        self.signal.register(cx.waker());
        loop {
            // A stream that hands something out wakes the connection, which comes next anyway.
            self.signal.hush();
            while let Poll::Ready(Some(())) = self.streams.poll_next_unpin(cx) {}
            self.signal.take();
            if let Poll::Ready(end) = self.connection.as_mut().poll(&mut Context::from_waker(&self.wakers.0)) {
                return Poll::Ready(Turn::Ended(end));
            }
            let mut new = self.new.new.lock();
            if new.is_empty() {
                break;
            }
            self.streams.extend(new.drain(..));
        }
        if self.signal.take_aside()
            && let Some(aside) = &mut self.aside
            && let Poll::Ready(found) = aside.as_mut().poll(&mut Context::from_waker(&self.wakers.1))
        {
            self.aside = None;
            return Poll::Ready(Turn::Aside(found));
        }
        Poll::Pending
    }
}
