//! Cuts off who does not read.
//!
//! A body that has handed out data is not asked for more before that has found room
//! in HTTP/2. A client that keeps its connection alive and takes nothing is invisible
//! from inside the body, which is not polled; so it is cut from outside, by dropping
//! what carries the stream. HTTP/2 then resets it.
//!
//! HTTP/2 takes whatever it is handed once there is room for one byte of it, so that
//! large messages are handed out in portions.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::rt::Executor;
use parking_lot::Mutex;

use crate::feed::SEGMENT;

/// How often stalled readers are looked for: who is cut has made no progress for the
/// patience and up to this much more.
pub(super) const SWEEP: Duration = Duration::from_millis(500);

/// A DATA frame below this many bytes is copied by HTTP/2, and counted by some
/// clients against a flood (research of h2 0.4: `too_many_data_frames`).
const SMALLEST: usize = 256;

/// HTTP/2 cuts what it is handed into DATA frames of this many bytes, unless the client
/// takes larger ones.
const FRAME: usize = 16 * 1024;

tokio::task_local! {
    /// What carries a stream, or a connection of HTTP/1.
    static CARRIER: Arc<Cut>;
}

/// Ends what carries a stream.
#[derive(Debug, Default)]
struct Cut {
    done: AtomicBool,
    task: OnceLock<Waker>,
}

impl Cut {
    fn make(&self) {
        self.done.store(true, Ordering::Release);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

/// Watches the readers of one server.
#[derive(Clone, Debug)]
pub(super) struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// In sweeps.
    patience: u64,
    /// How many there were; from 1.
    sweeps: AtomicU64,
    readers: Mutex<Vec<Weak<Progress>>>,
    cut: AtomicU64,
}

/// How far one reader is.
#[derive(Debug)]
struct Progress {
    /// The sweep before data was handed out that has not found room yet; 0 = there is
    /// none.
    offered: AtomicU64,
    carrier: Arc<Cut>,
}

impl Watchdog {
    /// One that cuts readers off after `patience` without progress.
    pub(super) fn new(patience: Duration) -> Self {
        let patience = u64::try_from(patience.as_millis().div_ceil(SWEEP.as_millis())).unwrap_or(u64::MAX);
        let (sweeps, readers, cut) = (AtomicU64::new(1), Mutex::default(), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { patience, sweeps, readers, cut }) }
    }

    /// Watches who reads `body`. To be called by the task that carries it.
    pub(super) fn watch<B>(&self, body: B) -> Watched<B> {
        let progress = CARRIER.try_with(Clone::clone).ok().map(|carrier| {
            let progress = Arc::new(Progress { offered: AtomicU64::new(0), carrier });
            self.shared.readers.lock().push(Arc::downgrade(&progress));
            progress
        });
        Watched { body, rest: Bytes::new(), progress, shared: Arc::clone(&self.shared) }
    }

    /// Lets a future carry streams, to be ended with them.
    pub(super) fn carry<F: Future>(future: F) -> impl Future<Output = ()> {
        let cut = Arc::<Cut>::default();
        let mut carried = Box::pin(CARRIER.scope(Arc::clone(&cut), future));
        poll_fn(move |cx| {
            if cut.done.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            // Tasks keep their wakers.
            cut.task.get_or_init(|| cx.waker().clone());
            carried.as_mut().poll(cx).map(drop)
        })
    }

    /// Cuts off all who have made no progress for too long. O(streams).
    pub(super) fn sweep(&self) {
        let now = self.shared.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        let mut slow = 0;
        self.shared.readers.lock().retain(|reader| {
            let Some(progress) = reader.upgrade() else { return false };
            let offered = progress.offered.load(Ordering::Relaxed);
            let stuck = offered != 0 && now.saturating_sub(offered) > self.shared.patience;
            if stuck {
                progress.carrier.make();
                slow += 1;
            }
            !stuck
        });
        if slow > 0 {
            let total = self.shared.cut.fetch_add(slow, Ordering::Relaxed) + slow;
            tracing::info!(reason = "SLOW_READER", streams = slow, total, "cut off who did not read");
        }
    }
}

/// Carries the streams of HTTP/2, each in a task of its own. (To run them in the task of
/// their connection was tried: with thousands of connections it costs more.)
impl<F: Future + Send + 'static> Executor<F> for Watchdog {
    #[expect(clippy::disallowed_methods, reason = "hyper owns its tasks: they end with their connection")]
    fn execute(&self, stream: F) {
        tokio::spawn(Self::carry(stream));
    }
}

/// A body whose reader is watched.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    /// What is to be handed out next.
    rest: Bytes,
    progress: Option<Arc<Progress>>,
    shared: Arc<Shared>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let mut frame = if this.rest.is_empty() {
            Pin::new(&mut this.body).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))))
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(data) = frame.data_mut()
        {
            this.rest = data.split_off(portion(data.len()));
        }
        if let Some(progress) = &this.progress {
            let data = matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_data());
            let offered = if data { this.shared.sweeps.load(Ordering::Relaxed) } else { 0 };
            progress.offered.store(offered, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// How much of so many bytes is handed out at a time, so that no frame is small unless all
/// of it is.
fn portion(length: usize) -> usize {
    let is_small = |rest| (1..SMALLEST).contains(&rest);
    let most = length.min(SEGMENT);
    let tail = if most > FRAME { most % FRAME } else { 0 };
    if is_small(length - most) || is_small(tail) { most - SMALLEST } else { most }
}
