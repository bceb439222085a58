//! Finds streams whose client reads nothing or does not send what it began, and ends them.
//!
//! A body that has handed out data is not asked for more before that has found room
//! in HTTP/2. A client that keeps its connection alive and takes nothing is invisible
//! from inside the body, which is not polled; so it is cut from outside, by dropping
//! the future of the stream. HTTP/2 then resets it.
//!
//! HTTP/2 takes whatever it is handed once there is room for one byte of it, so that
//! large messages are handed out in portions. What has found room counts at a least rate,
//! so that a client that takes a byte now and then is not one that reads.
//!
//! A request that is owed is noted as the time by which it must be there. When that has
//! passed its body is woken, to say so; one that nobody asks any more is cut off.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;

use super::accounts::Accounts;
use super::monitor::StallCounts;
use super::portion::portion;
use super::stream_count::OpenStream;
use super::unread::UnreadBody;
use crate::budget::Reservation;

/// How often stalled streams are looked for: who is cut has made no progress for the
/// timeout and up to this much more.
pub(crate) const SWEEP: Duration = Duration::from_millis(500);

/// How long a stream that its connection has no room for may make no progress, in sweeps.
const PATIENCE: u64 = 4;
/// The time is counted in this many parts of a sweep: a reader must take one byte in each, 1 KiB/s.
const READ_PER_SWEEP: u64 = 512;

/// A sender must send so many bytes of a message in each sweep, 4 KiB/s.
const SENT_PER_SWEEP: u64 = 2_048;

/// The first message must be there after so many times what each may take.
const FIRST: u64 = 3;

/// Sweeps that a body has to say that its message came too late.
const TO_SAY: u64 = 4;

/// Watches the streams of one server.
#[derive(Clone, Debug)]
pub(crate) struct StallDetector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// How long a reader may make no progress, in sweeps.
    timeout: u64,
    /// How long a message may take to come, in sweeps.
    receive_timeout: u64,
    /// How many there were; from 1.
    sweeps: AtomicU64,
    streams: Mutex<Vec<Weak<StreamProgress>>>,
    counts: Arc<StallCounts>,
}

/// How the client of one stream gets on.
#[derive(Debug)]
pub(crate) struct StreamProgress {
    shared: Arc<Shared>,
    /// What the stream holds by being open.
    _held: Option<Reservation>,
    /// Since when data waits for room, in parts of a sweep, put forward by what has found room;
    /// 0 = none waits.
    offered: AtomicU64,
    /// The last sweep in which a message may come; 0 = none is owed.
    owed: AtomicU64,
    /// It has passed, and that was told.
    late: AtomicBool,
    /// Wakes who waits for the message.
    receiver: Mutex<Option<Waker>>,
    /// Where it counts what it has sent while its answer is not read; only of a stream of messages.
    sends: OnceLock<Arc<Accounts>>,
    blocked: AtomicBool,
    /// Nobody asks for its messages for a while.
    paused: AtomicBool,
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
    /// Counts what its reader does not take in these accounts.
    pub(crate) fn count_in(&self, accounts: &Arc<Accounts>) {
        self.unread.get_or_init(|| Box::new(UnreadBody::new(Arc::clone(accounts))));
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

    /// A message has begun that announces so many bytes, or its end is to come.
    pub(crate) fn owes_message(&self, bytes: usize) {
        self.owe(self.shared.receive_timeout.saturating_add(bytes as u64 / SENT_PER_SWEEP));
    }

    /// All has come that was begun.
    pub(crate) fn owes_nothing(&self) {
        self.owed.store(0, Ordering::Relaxed);
    }

    fn owe(&self, sweeps: u64) {
        let now = self.shared.sweeps.load(Ordering::Relaxed);
        self.owed.store(now.saturating_add(sweeps), Ordering::Relaxed);
    }

    /// True when what is owed is late; else `receiver` is woken when it is.
    pub(crate) fn poll_late(&self, receiver: &Waker) -> bool {
        if self.owed.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut noted = self.receiver.lock();
        if !noted.as_ref().is_some_and(|noted| noted.will_wake(receiver)) {
            *noted = Some(receiver.clone());
        }
        // Under the lock: who is late in between is woken. Again, since what was owed may have come.
        self.is_late(self.shared.sweeps.load(Ordering::Relaxed))
    }

    fn is_late(&self, now: u64) -> bool {
        let owed = self.owed.load(Ordering::Relaxed);
        owed != 0 && now > owed
    }

    /// True when what is owed became late by this sweep.
    fn becomes_late(&self, now: u64) -> bool {
        if self.paused.load(Ordering::Relaxed) {
            // What is owed may be there, and nobody looks: it has as much time left afterwards.
            let later = |owed| (owed != 0).then_some(owed + 1);
            let _: Result<u64, u64> = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
            return false;
        }
        if !self.is_late(now) {
            return false;
        }
        if self.is_late(now.saturating_sub(TO_SAY)) {
            self.cut();
        }
        let becomes = !self.late.swap(true, Ordering::Relaxed);
        if becomes {
            self.receiver.lock().iter().for_each(Waker::wake_by_ref);
        }
        becomes
    }

    /// So many bytes have found room, and `more` are handed out.
    fn offer(&self, taken: usize, more: bool) {
        let now = || self.shared.sweeps.load(Ordering::Relaxed) * READ_PER_SWEEP;
        let offered = match self.offered.load(Ordering::Relaxed) {
            _ if !more => 0,
            0 => now(),
            since => now().min(since + taken as u64),
        };
        self.offered.store(offered, Ordering::Relaxed);
        self.block(more);
    }

    /// It sends a stream of messages, over the connection with these accounts.
    pub(crate) fn sends_stream(&self, accounts: &Arc<Accounts>) {
        self.sends.get_or_init(|| Arc::clone(accounts));
    }

    /// Whether its messages wait because its answer is not read.
    fn block(&self, blocked: bool) {
        let Some(accounts) = self.sends.get() else { return };
        match (self.blocked.swap(blocked, Ordering::Relaxed), blocked) {
            (false, true) => accounts.block(),
            (true, false) => accounts.unblock(),
            _ => {}
        }
    }

    /// Whether its messages wait because nobody asks for them for a while: no fault of its client's. What it has sent
    /// counts as being received meanwhile, as that of one whose answer is not read.
    pub(crate) fn pause(&self, paused: bool) {
        let Some(accounts) = self.sends.get() else { return };
        match (self.paused.swap(paused, Ordering::Relaxed), paused) {
            (false, true) => accounts.block(),
            (true, false) => accounts.unblock(),
            _ => {}
        }
    }

    /// How long it has taken too little of what it was offered, in parts of a sweep.
    fn waits_for(&self, now: u64) -> u64 {
        let offered = self.offered.load(Ordering::Relaxed);
        if offered == 0 { 0 } else { (now * READ_PER_SWEEP).saturating_sub(offered) }
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        if let Some(stream_waker) = self.stream_waker.get() {
            stream_waker.wake_by_ref();
        }
    }
}

impl Drop for StreamProgress {
    fn drop(&mut self) {
        self.block(false);
        self.pause(false);
    }
}

impl StallDetector {
    /// One that cuts off who reads nothing for `timeout`, and who owes a message for `receive_timeout`.
    pub(crate) fn new(timeout: Duration, receive_timeout: Duration) -> Self {
        let sweeps = |time: Duration| u64::try_from(time.as_millis().div_ceil(SWEEP.as_millis())).unwrap_or(u64::MAX);
        Self {
            shared: Arc::new(Shared {
                timeout: sweeps(timeout),
                receive_timeout: sweeps(receive_timeout),
                sweeps: AtomicU64::new(1),
                streams: Mutex::default(),
                counts: Arc::default(),
            }),
        }
    }

    /// The progress of one more stream, whose first message is owed, and what it holds by being open.
    pub(crate) fn stream(&self, held: Option<Reservation>) -> Arc<StreamProgress> {
        let progress = Arc::new(StreamProgress {
            shared: Arc::clone(&self.shared),
            _held: held,
            offered: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            late: AtomicBool::new(false),
            receiver: Mutex::default(),
            unread: OnceLock::new(),
            sends: OnceLock::new(),
            blocked: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            stream_waker: OnceLock::new(),
            body_waker: OnceLock::new(),
        });
        progress.owe(self.shared.receive_timeout.saturating_mul(FIRST));
        self.shared.streams.lock().push(Arc::downgrade(&progress));
        progress
    }

    /// What it has ended.
    pub(super) fn counts(&self) -> Arc<StallCounts> {
        Arc::clone(&self.shared.counts)
    }

    /// Watches who reads `body`.
    pub(super) fn watch<B>(body: B, progress: Arc<StreamProgress>, open: Option<OpenStream>) -> WatchedBody<B> {
        WatchedBody { body, rest: Bytes::new(), handed_out: 0, progress, _open: open }
    }

    /// Cuts off all who have made no progress for too long. O(streams).
    pub(crate) fn sweep(&self) {
        let now = self.shared.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        let (mut slow, mut late) = (0, 0);
        self.shared.streams.lock().retain(|progress| {
            let Some(progress) = progress.upgrade() else { return false };
            late += u64::from(progress.becomes_late(now));
            let since = progress.waits_for(now);
            // More than a whole sweep.
            let fits = progress.unread.get().is_none_or(|unread| unread.count(since > READ_PER_SWEEP));
            let stuck = since > self.shared.timeout * READ_PER_SWEEP || (!fits && since > PATIENCE * READ_PER_SWEEP);
            if stuck {
                progress.cut();
                slow += 1;
            }
            !stuck
        });
        if slow > 0 {
            let total = self.shared.counts.cut.fetch_add(slow, Ordering::Relaxed) + slow;
            tracing::info!(reason = "SLOW_READER", streams = slow, total, "cut off who did not read");
        }
        if late > 0 {
            let total = self.shared.counts.late.fetch_add(late, Ordering::Relaxed) + late;
            tracing::info!(reason = "RECEIVE_TIMEOUT", streams = late, total, "refused whose message did not come");
        }
    }
}

/// A body whose progress is watched.
#[derive(Debug)]
pub(crate) struct WatchedBody<B> {
    body: B,
    /// What is to be handed out next.
    rest: Bytes,
    /// The bytes that were handed out last.
    handed_out: usize,
    progress: Arc<StreamProgress>,
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
        let taken = std::mem::take(&mut this.handed_out);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            this.handed_out = frame.data_ref().map_or(0, Bytes::len);
            if let Some(unread) = this.progress.unread.get() {
                unread.hand_out(this.handed_out);
            }
        }
        this.progress.offer(taken, this.handed_out > 0);
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::sync::woken::Woken;

    const TIMEOUT: Duration = Duration::from_secs(10);
    /// The timeout, in sweeps.
    const SWEEPS: u64 = 20;

    /// A body of messages: how large each is, and how many are left.
    struct Messages(usize, usize);

    impl Body for Messages {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.1.checked_sub(1).map(|left| {
                self.1 = left;
                Ok(Frame::data(vec![0; self.0].into()))
            }))
        }
    }

    fn poll<B: Body<Data = Bytes> + Unpin>(body: &mut WatchedBody<B>) {
        assert!(Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    /// The sweep in which a reader is cut that takes a message of `bytes` every `each` sweeps.
    fn cut_after(bytes: usize, each: u64) -> Option<u64> {
        let detector = StallDetector::new(TIMEOUT, TIMEOUT);
        let progress = detector.stream(None);
        progress.owes_nothing();
        let mut body = StallDetector::watch(Messages(bytes, usize::MAX), Arc::clone(&progress), None);
        (1..20 * SWEEPS).find(|sweep| {
            if sweep % each == 1 || each == 1 {
                poll(&mut body);
            }
            detector.sweep();
            progress.is_cut()
        })
    }

    #[test]
    fn reader_is_measured_by_what_it_takes() {
        assert_eq!(cut_after(100, u64::MAX), Some(SWEEPS + 1), "it takes nothing");
        let trickle = cut_after(100, 18).expect("100 bytes each 9 s");
        assert!((SWEEPS..2 * SWEEPS).contains(&trickle), "{trickle}");
        assert_eq!(cut_after(10_000, 18), None, "more than 1 KiB/s");
        assert_eq!(cut_after(600, 1), None);
    }

    #[test]
    fn reader_with_nothing_to_take_owes_nothing() {
        let detector = StallDetector::new(TIMEOUT, TIMEOUT);
        let progress = detector.stream(None);
        progress.owes_nothing();
        let mut body = StallDetector::watch(Messages(3, 1), Arc::clone(&progress), None);
        poll(&mut body);
        poll(&mut body);
        (0..3 * SWEEPS).for_each(|_| detector.sweep());
        assert!(!progress.is_cut());
    }

    /// Sweeps until the message is late.
    fn sweeps_until_late(detector: &StallDetector, progress: &StreamProgress) -> u64 {
        let woken = Arc::<Woken>::default();
        assert!(!progress.poll_late(&Arc::clone(&woken).into()));
        let sweeps = (1..).find(|_| {
            detector.sweep();
            progress.poll_late(&Arc::clone(&woken).into())
        });
        assert_eq!(woken.take(), 1, "it is told once");
        sweeps.unwrap()
    }

    #[test]
    fn large_messages_may_take_longer() {
        let detector = StallDetector::new(TIMEOUT, TIMEOUT);
        let progress = detector.stream(None);
        assert_eq!(sweeps_until_late(&detector, &progress), FIRST * SWEEPS + 1);
        for (bytes, more) in [(0, 0), (40 * 1024, 20)] {
            let progress = detector.stream(None);
            progress.owes_message(bytes);
            assert_eq!(sweeps_until_late(&detector, &progress), SWEEPS + more + 1);
        }
        let nothing = detector.stream(None);
        nothing.owes_nothing();
        (0..5 * SWEEPS).for_each(|_| detector.sweep());
        assert!(!nothing.poll_late(Waker::noop()));
    }

    #[test]
    fn paused_stream_owes_no_message_meanwhile() {
        let detector = StallDetector::new(TIMEOUT, TIMEOUT);
        let progress = detector.stream(None);
        progress.sends_stream(super::super::connection::ConnectionShared::unbounded().accounts());
        progress.owes_message(0);
        progress.pause(true);
        (0..5 * SWEEPS).for_each(|_| detector.sweep());
        progress.pause(false);
        assert_eq!(sweeps_until_late(&detector, &progress), SWEEPS + 1, "it has as much time as before");
    }

    #[test]
    fn late_message_nobody_asks_for_ends_its_stream() {
        let detector = StallDetector::new(TIMEOUT, TIMEOUT);
        let progress = detector.stream(None);
        progress.owes_message(0);
        (0..SWEEPS + TO_SAY).for_each(|_| detector.sweep());
        assert!(!progress.is_cut());
        detector.sweep();
        assert!(progress.is_cut());
    }
}
