//! Finds streams whose client reads nothing, and ends them.
//!
//! A body that has handed out data is not asked for more before that has found room
//! in HTTP/2. A client that keeps its connection alive and takes nothing is invisible
//! from inside the body, which is not polled; so it is cut from outside, by dropping
//! the future of the stream. HTTP/2 then resets it.
//!
//! HTTP/2 takes whatever it is handed once there is room for one byte of it, so that
//! large messages are handed out in portions.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;

use super::stream_count::OpenStream;
use super::unread::UnreadBody;
use crate::budget::Account;

/// How often stalled streams are looked for: who is cut has made no progress for the
/// timeout and up to this much more.
pub(crate) const SWEEP: Duration = Duration::from_millis(500);

/// What is handed out at once at most, in bytes.
pub(super) const PORTION: usize = 32 * 1024;

/// A DATA frame below this many bytes is copied by HTTP/2, and counted by some
/// clients against a flood (`too_many_data_frames` of h2 0.4).
const SMALLEST: usize = 256;

/// HTTP/2 cuts what it is handed into DATA frames of this many bytes, unless the client
/// takes larger ones.
const FRAME: usize = 16 * 1024;

/// How long a stream that its connection has no room for may make no progress, in sweeps.
const PATIENCE: u64 = 4;

/// Watches the streams of one server.
#[derive(Clone, Debug)]
pub(crate) struct StallDetector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// In sweeps.
    timeout: u64,
    /// How many there were; from 1.
    sweeps: AtomicU64,
    streams: Mutex<Vec<Weak<StreamProgress>>>,
    cut: AtomicU64,
}

/// Who reads the body of one answer.
#[derive(Debug, Default)]
pub(crate) struct StreamProgress {
    /// The sweep before data was handed out that has not found room yet; 0 = there is
    /// none.
    offered: AtomicU64,
    /// The body was asked, and has nothing.
    waits: AtomicBool,
    is_cut: AtomicBool,
    /// Set for a body that was handed over.
    unread: OnceLock<Box<UnreadBody>>,
    /// Wakes the task that polls the stream.
    stream_waker: OnceLock<Waker>,
    /// Is woken for the body, where it is not what is woken for HTTP/2.
    body_waker: OnceLock<Waker>,
}

impl StreamProgress {
    /// Counts what its reader does not take in this account.
    pub(crate) fn count_in(&self, account: &Arc<Account>) {
        self.unread.get_or_init(|| Box::new(UnreadBody::new(Arc::clone(account))));
    }

    /// Names what is to be woken when the progress is cut off, if nothing is yet.
    pub(crate) fn set_stream_waker(&self, stream_waker: &Waker) {
        self.stream_waker.get_or_init(|| stream_waker.clone());
    }

    /// Names what is to be woken for the body alone.
    pub(crate) fn set_body_waker(&self, body_waker: &Waker) {
        self.set_stream_waker(body_waker);
        self.body_waker.get_or_init(|| body_waker.clone());
    }

    /// True when the future of the stream is to be dropped.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// True when the body was asked, and has nothing.
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// True when its stream is polled by the task of its connection.
    #[cfg(test)]
    pub(super) fn is_inline(&self) -> bool {
        self.body_waker.get().is_some()
    }

    /// True when its stream has a task of its own, and this is its waker.
    #[cfg(test)]
    pub(super) fn is_of(&self, task: &Waker) -> bool {
        !self.is_inline() && self.stream_waker.get().is_some_and(|waker| waker.will_wake(task))
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        if let Some(stream_waker) = self.stream_waker.get() {
            stream_waker.wake_by_ref();
        }
    }
}

impl StallDetector {
    /// One that cuts streams off after `timeout` without progress.
    pub(crate) fn new(timeout: Duration) -> Self {
        let timeout = u64::try_from(timeout.as_millis().div_ceil(SWEEP.as_millis())).unwrap_or(u64::MAX);
        let (sweeps, streams, cut) = (AtomicU64::new(1), Mutex::default(), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { timeout, sweeps, streams, cut }) }
    }

    /// The progress of one more stream.
    pub(crate) fn stream(&self) -> Arc<StreamProgress> {
        let progress = Arc::<StreamProgress>::default();
        self.shared.streams.lock().push(Arc::downgrade(&progress));
        progress
    }

    /// Watches who reads `body`.
    pub(super) fn watch<B>(&self, body: B, progress: Arc<StreamProgress>, open: Option<OpenStream>) -> WatchedBody<B> {
        WatchedBody { body, rest: Bytes::new(), progress, shared: Arc::clone(&self.shared), _open: open }
    }

    /// Cuts off all who have made no progress for too long. O(streams).
    pub(crate) fn sweep(&self) {
        let now = self.shared.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        let mut slow = 0;
        self.shared.streams.lock().retain(|progress| {
            let Some(progress) = progress.upgrade() else { return false };
            let offered = progress.offered.load(Ordering::Relaxed);
            let since = if offered == 0 { 0 } else { now.saturating_sub(offered) };
            // More than a whole sweep.
            let fits = progress.unread.get().is_none_or(|unread| unread.count(since > 1));
            let stuck = since > self.shared.timeout || (!fits && since > PATIENCE);
            if stuck {
                progress.cut();
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

/// A body whose progress is watched.
#[derive(Debug)]
pub(crate) struct WatchedBody<B> {
    body: B,
    /// What is to be handed out next.
    rest: Bytes,
    progress: Arc<StreamProgress>,
    shared: Arc<Shared>,
    /// Its stream is open as long as it is.
    _open: Option<OpenStream>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let mut frame = if this.rest.is_empty() {
            let waker = this.progress.body_waker.get().unwrap_or_else(|| cx.waker());
            Pin::new(&mut this.body).poll_frame(&mut Context::from_waker(waker))
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))))
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(data) = frame.data_mut()
        {
            this.rest = data.split_off(portion(data.len()));
        }
        let data = matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        if let Some(unread) = this.progress.unread.get()
            && let Poll::Ready(Some(Ok(frame))) = &frame
        {
            unread.hand_out(frame.data_ref().map_or(0, Bytes::len));
        }
        let offered = if data { this.shared.sweeps.load(Ordering::Relaxed) } else { 0 };
        this.progress.offered.store(offered, Ordering::Relaxed);
        this.progress.waits.store(frame.is_pending(), Ordering::Relaxed);
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
    let most = length.min(PORTION);
    let tail = if most > FRAME { most % FRAME } else { 0 };
    if is_small(length - most) || is_small(tail) { most - SMALLEST } else { most }
}
