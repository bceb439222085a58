//! Cuts off who does not read.
//!
//! A body that has handed out data is not asked for more before that has found room
//! in HTTP/2. A client that keeps its connection alive and takes nothing is invisible
//! from inside the body, which is not polled; so it is cut from outside, by dropping
//! what carries the stream. HTTP/2 then resets it.
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

/// How often stalled readers are looked for: who is cut has made no progress for the
/// patience and up to this much more.
pub(super) const SWEEP: Duration = Duration::from_millis(500);

/// What is handed out at once at most, in bytes.
const PORTION: usize = 32 * 1024;

/// A DATA frame below this many bytes is copied by HTTP/2, and counted by some
/// clients against a flood (research of h2 0.4: `too_many_data_frames`).
const SMALLEST: usize = 256;

/// HTTP/2 cuts what it is handed into DATA frames of this many bytes, unless the client
/// takes larger ones.
const FRAME: usize = 16 * 1024;

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
    readers: Mutex<Vec<Weak<Reader>>>,
    cut: AtomicU64,
}

/// Who reads the body of one answer.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The sweep before data was handed out that has not found room yet; 0 = there is
    /// none.
    offered: AtomicU64,
    /// The body was asked, and has nothing.
    waits: AtomicBool,
    is_cut: AtomicBool,
    /// Wakes what carries the stream.
    carrier: OnceLock<Waker>,
    /// Is woken for the body, where it is not what is woken for HTTP/2.
    bell: OnceLock<Waker>,
}

impl Reader {
    /// Names what is to be woken when the reader is cut off, if nothing is yet.
    pub(super) fn carried_by(&self, carrier: &Waker) {
        self.carrier.get_or_init(|| carrier.clone());
    }

    /// Names what is to be woken for the body alone.
    pub(super) fn rung_by(&self, bell: &Waker) {
        self.carried_by(bell);
        self.bell.get_or_init(|| bell.clone());
    }

    /// True when what carries it is to be dropped.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// True when the body was asked, and has nothing.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        if let Some(carrier) = self.carrier.get() {
            carrier.wake_by_ref();
        }
    }
}

impl Watchdog {
    /// One that cuts readers off after `patience` without progress.
    pub(super) fn new(patience: Duration) -> Self {
        let patience = u64::try_from(patience.as_millis().div_ceil(SWEEP.as_millis())).unwrap_or(u64::MAX);
        let (sweeps, readers, cut) = (AtomicU64::new(1), Mutex::default(), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { patience, sweeps, readers, cut }) }
    }

    /// One reader more.
    pub(super) fn reader(&self) -> Arc<Reader> {
        let reader = Arc::<Reader>::default();
        self.shared.readers.lock().push(Arc::downgrade(&reader));
        reader
    }

    /// Watches who reads `body`.
    pub(super) fn watch<B>(&self, body: B, reader: Arc<Reader>) -> Watched<B> {
        Watched { body, rest: Bytes::new(), reader, shared: Arc::clone(&self.shared) }
    }

    /// Cuts off all who have made no progress for too long. O(streams).
    pub(super) fn sweep(&self) {
        let now = self.shared.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        let mut slow = 0;
        self.shared.readers.lock().retain(|reader| {
            let Some(reader) = reader.upgrade() else { return false };
            let offered = reader.offered.load(Ordering::Relaxed);
            let stuck = offered != 0 && now.saturating_sub(offered) > self.shared.patience;
            if stuck {
                reader.cut();
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

/// A body whose reader is watched.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    /// What is to be handed out next.
    rest: Bytes,
    reader: Arc<Reader>,
    shared: Arc<Shared>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let mut frame = if this.rest.is_empty() {
            let waker = this.reader.bell.get().unwrap_or_else(|| cx.waker());
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
        let offered = if data { this.shared.sweeps.load(Ordering::Relaxed) } else { 0 };
        this.reader.offered.store(offered, Ordering::Relaxed);
        this.reader.waits.store(frame.is_pending(), Ordering::Relaxed);
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
