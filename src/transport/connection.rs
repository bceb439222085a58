//! A connection and those of its streams that are polled inline.
//!
//! hyper runs a connection in one task and each of its streams in another: two
//! wake-ups and two walks through cold memory for each update that is sent. Streams of
//! updates are polled by the task of their connection instead, as many of them as
//! [`WakeSet`] has flags for; all others, which may have more to do than to copy
//! bytes, have tasks of their own.
//!
//! ```text
//!   hyper: service.call(request) ── expect_stream(progress, inline) ─┐
//!   hyper: executor.execute(stream) ◄────────── taken by ────────────┘
//!             ├─ inline: handed_over, HANDED_OVER set ─► a slot of the connection's task
//!             └─ else:   a task of its own
//! ```
//!
//! This relies on hyper to execute a stream right after the call for it, in the same poll, which
//! hyper does not promise: the tests in `hyper_order` fail when that changes.

use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use http::HeaderMap;
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::accounts::{Accounts, Budgets};
use super::carried_identity::CarriedIdentity;
pub(crate) use super::close_request::CloseRequest;
use super::forwarded_header::ForwardedHeader;
use super::monitor::Closed;
use super::origin::Origin;
use super::stall::StreamProgress;
use super::stream_count::StreamCount;
use super::wake_set::WakeSet;
use crate::budget::Holder;
use crate::identity::Identity;

/// The flags of a connection: for the body of its first inline stream, most often the only
/// one, because flag 0 has the cheapest waker; for HTTP/2, for streams that hyper handed
/// over, for a close request; and two for each further slot.
const FIRST_BODY: u32 = 0;
const HTTP: u32 = 1;
const HANDED_OVER: u32 = 2;
const CLOSE_REQUEST: u32 = 3;
const FIRST_SLOT: u32 = 4;

/// Polls of one connection per wake-up before it yields to other tasks.
const POLLS_PER_WAKE: u32 = 4;

/// What is shared by the parts of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionShared {
    origin: Origin,
    /// Set before the first stream, if it is.
    identity: OnceLock<Arc<Identity>>,
    carried: CarriedIdentity,
    accounts: Arc<Accounts>,
    wakes: Arc<WakeSet>,
    /// [`CloseRequest::rank`].
    request: AtomicU8,
    /// In milliseconds; see [`CloseRequest::SayGoodbye`].
    spread: AtomicU32,
    /// Why it ends, as far as the server ends it.
    closed: OnceLock<Closed>,
    /// Notified with each request.
    requested: Notify,
    /// Bytes received.
    received: AtomicUsize,
    /// Its client may send much.
    uploads: AtomicBool,
    streams: Arc<StreamCount>,
    /// The next stream: its progress, and whether it is polled inline.
    expected: Mutex<Option<(Arc<StreamProgress>, bool)>>,
    handed_over: Mutex<Vec<Stream>>,
}

impl ConnectionShared {
    /// A connection whose socket leads to `socket`, with its accounts in the budgets of its server.
    pub(super) fn new(socket: IpAddr, budgets: &Arc<Budgets>, streams: Arc<StreamCount>) -> Arc<Self> {
        Arc::new_cyclic(|shared: &Weak<Self>| Self {
            origin: Origin::new(socket),
            identity: OnceLock::new(),
            carried: CarriedIdentity::new(),
            accounts: Accounts::new(Arc::clone(budgets), shared.clone()),
            wakes: WakeSet::new(),
            request: AtomicU8::new(CloseRequest::None.rank()),
            spread: AtomicU32::new(0),
            closed: OnceLock::new(),
            requested: Notify::new(),
            received: AtomicUsize::new(0),
            uploads: AtomicBool::new(false),
            streams,
            expected: Mutex::new(None),
            handed_over: Mutex::new(Vec::new()),
        })
    }

    /// Where it comes from: the address that a trusted proxy has told, else the other end of its socket.
    pub(crate) fn peer(&self) -> IpAddr {
        self.origin.address()
    }

    /// The address of the client that sent a request with these headers: where the connection comes from, or whom a
    /// trusted proxy names there.
    pub(crate) fn client_address(&self, headers: &HeaderMap) -> IpAddr {
        self.origin.client(headers)
    }

    /// Notes where it comes from, before its first stream; `forwards` if that is a proxy whose header is taken.
    pub(super) fn comes_from(&self, address: IpAddr, forwards: Option<Arc<ForwardedHeader>>) {
        self.streams.belongs_to(address);
        self.origin.set(address, forwards);
    }

    /// Who its client is by the certificate that it showed; `None` without TLS, without a certificate, and where the
    /// certificate names nobody.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.get()
    }

    /// Notes who the client is, before it may say anything.
    pub(super) fn identify(&self, identity: Identity) {
        let known = self.identity.set(Arc::new(identity));
        debug_assert!(known.is_ok(), "a connection makes one handshake");
    }

    /// One that nothing bounds, of which it is not known yet where it comes from.
    #[cfg(test)]
    pub(super) fn accepted() -> Arc<Self> {
        let budgets = Budgets::new(super::MemorySettings::UNLIMITED);
        Self::new(std::net::Ipv4Addr::LOCALHOST.into(), &budgets, StreamCount::unbounded())
    }

    /// One that nothing bounds.
    #[cfg(test)]
    pub(super) fn unbounded() -> Arc<Self> {
        let shared = Self::accepted();
        shared.comes_from(shared.peer(), None);
        shared
    }

    /// Notes that it carries a call of the identity with this number.
    pub(crate) fn carries_call_of(&self, identity: u64) {
        self.carried.note(identity);
    }

    /// What it holds of each budget.
    pub(crate) const fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Announces the stream that hyper is about to execute.
    pub(crate) fn expect_stream(&self, progress: Arc<StreamProgress>, inline: bool) {
        *self.expected.lock() = Some((progress, inline));
    }

    /// Notes why it ends; the first reason counts.
    pub(super) fn closes_for(&self, reason: Closed) {
        self.closed.get_or_init(|| reason);
    }

    /// Why it has ended.
    pub(super) fn closed(&self) -> Closed {
        self.closed.get().copied().unwrap_or(Closed::Other)
    }

    /// Asks the connection to end.
    pub(crate) fn request(&self, request: CloseRequest) {
        if let CloseRequest::SayGoodbye(spread) = request {
            self.spread.store(u32::try_from(spread.as_millis()).unwrap_or(u32::MAX), Ordering::Release);
        }
        // Requests only rise: a drain that follows an age must not be undone by a second age.
        if self.request.fetch_max(request.rank(), Ordering::AcqRel) < request.rank() {
            self.requested.notify_waiters();
            self.wakes.set(CLOSE_REQUEST);
        }
    }

    pub(crate) fn is_requested(&self, request: CloseRequest) -> bool {
        self.request.load(Ordering::Acquire) >= request.rank()
    }

    /// Resolves with the next request.
    pub(crate) fn requests(&self) -> Notified<'_> {
        self.requested.notified()
    }

    /// The time that its streams have to say goodbye; `None` = they stay.
    pub(crate) fn goodbye_spread(&self) -> Option<Duration> {
        let spread = || Duration::from_millis(self.spread.load(Ordering::Acquire).into());
        self.is_requested(CloseRequest::SayGoodbye(Duration::ZERO)).then(spread)
    }

    /// Resolves when what is still open is to end with a status.
    pub(crate) async fn streams_must_end(&self) {
        self.until_requested(CloseRequest::EndStreams).await;
    }

    /// Resolves when the connection was asked for this.
    pub(super) async fn until_requested(&self, request: CloseRequest) {
        loop {
            let requests = self.requests();
            tokio::pin!(requests);
            // Before the look: a request between the look and the wait would be missed.
            requests.as_mut().enable();
            if self.is_requested(request) {
                return;
            }
            requests.await;
        }
    }

    /// Ends the connection when it is woken.
    pub(crate) fn end(self: &Arc<Self>) -> Waker {
        Arc::new(End(Arc::clone(self))).into()
    }

    /// Its open streams.
    pub(super) const fn streams(&self) -> &Arc<StreamCount> {
        &self.streams
    }

    /// Notes that its client may send much.
    pub(super) fn expect_much(&self) {
        self.uploads.store(true, Ordering::Relaxed);
    }

    pub(super) fn uploads(&self) -> bool {
        self.uploads.load(Ordering::Relaxed)
    }

    /// Counts bytes that came.
    pub(crate) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The bytes that came.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }
}

impl Holder for ConnectionShared {
    fn caller(&self) -> Option<u64> {
        self.carried.get()
    }

    fn peer(&self) -> IpAddr {
        self.peer()
    }

    fn cut(&self, budget: &'static str) {
        tracing::info!(peer = %self.peer(), budget, "cut a connection");
        self.closes_for(Closed::Memory);
        self.request(CloseRequest::Now);
    }
}

struct End(Arc<ConnectionShared>);

impl Wake for End {
    fn wake(self: Arc<Self>) {
        self.0.closes_for(Closed::Stalled);
        self.0.request(CloseRequest::Now);
    }
}

/// Runs the streams of one connection for hyper.
#[derive(Clone, Debug)]
pub(crate) struct StreamExecutor(pub(super) Arc<ConnectionShared>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        // hyper executes the stream of a call before it takes the next one (`hyper_order.rs`): what was announced
        // last is this one's. Without an announcement it is none of the service's streams.
        let (progress, inline) = self.0.expected.lock().take().unzip();
        let stream = Stream { future: Box::pin(stream), progress };
        if inline.unwrap_or(false) {
            // Not polled here: hyper is in the middle of its own poll. The connection adopts it right after.
            self.0.handed_over.lock().push(stream);
            self.0.wakes.set(HANDED_OVER);
        } else {
            spawn(stream);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "hyper owns its tasks: they end with their connection")]
fn spawn(stream: Stream) {
    tokio::spawn(stream);
}

/// A stream, which ends when its progress is cut off.
struct Stream {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    progress: Option<Arc<StreamProgress>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Stream {
    /// True when its body was asked, and has nothing.
    fn waits(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.waits())
    }
}

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(progress) = &self.progress {
            // The waker before the look: the detector that cuts in between wakes this poll again.
            progress.set_stream_waker(cx.waker());
            if progress.is_cut() {
                return Poll::Ready(());
            }
        }
        self.future.as_mut().poll(cx)
    }
}

/// A slot for a stream in the task of its connection.
#[derive(Debug)]
struct InlineSlot {
    stream: Option<Stream>,
    /// The flag of HTTP/2 for this stream, and that of its body.
    http_flag: u32,
    body_flag: u32,
    waker: Waker,
}

impl InlineSlot {
    /// The slot after so many; `None` when there are no flags left for it.
    fn next_after(slots: usize, wakes: &Arc<WakeSet>) -> Option<Self> {
        let http_flag = u32::try_from(slots).ok().map(|slots| FIRST_SLOT + 2 * slots)?;
        let body_flag = if slots == 0 { FIRST_BODY } else { http_flag - 1 };
        (http_flag < WakeSet::FLAGS).then(|| Self { stream: None, http_flag, body_flag, waker: wakes.waker(http_flag) })
    }

    fn take(&mut self, stream: Stream, wakes: &Arc<WakeSet>) {
        // The body has a flag of its own.
        if let Some(progress) = &stream.progress {
            progress.set_body_waker(&wakes.waker(self.body_flag));
        }
        self.stream = Some(stream);
        wakes.set(self.http_flag);
    }

    /// Polls the stream.
    fn poll(&mut self, wakes: &WakeSet) {
        let Some(stream) = &mut self.stream else { return };
        let mut cx = Context::from_waker(&self.waker);
        // A stream that panics ends alone, as it would in a task of its own.
        let looked = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *stream).poll(&mut cx)));
        match looked {
            // Asking HTTP/2 for room wakes the stream that asks: it need not be polled again.
            Ok(Poll::Pending) if stream.waits() => wakes.clear(self.http_flag),
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => self.stream = None,
            Err(_) => {
                tracing::error!("a stream failed");
                self.stream = None;
            }
        }
    }
}

/// A connection with those of its streams that are polled inline.
#[derive(Debug)]
pub(crate) struct Connection<C> {
    connection: Pin<Box<C>>,
    waker: Waker,
    /// That of `shared`, so that an update does not touch `shared`.
    wakes: Arc<WakeSet>,
    shared: Arc<ConnectionShared>,
    closing: bool,
    slots: Vec<InlineSlot>,
}

/// A connection that can be told to take no new streams.
pub(crate) trait GracefulShutdown {
    fn shut_down_gracefully(self: Pin<&mut Self>);
}

impl<C> Connection<C> {
    pub(crate) fn new(connection: C, shared: Arc<ConnectionShared>) -> Self {
        let wakes = Arc::clone(&shared.wakes);
        let waker = wakes.waker(HTTP);
        Self { connection: Box::pin(connection), waker, wakes, shared, closing: false, slots: Vec::new() }
    }

    fn adopt(&mut self) {
        let wakes = &self.wakes;
        for stream in self.shared.handed_over.lock().drain(..) {
            // Slots are never given back: they hold no stream's memory, and the flags are few.
            if let Some(free) = self.slots.iter_mut().find(|slot| slot.stream.is_none()) {
                free.take(stream, wakes);
            } else if let Some(mut slot) = InlineSlot::next_after(self.slots.len(), wakes) {
                slot.take(stream, wakes);
                self.slots.push(slot);
            } else {
                // More streams than flags: the rest have tasks of their own, at the cost of a wake-up each.
                spawn(stream);
            }
        }
    }

    /// Polls the streams whose flags were set.
    fn poll_slots(&mut self, woken: u64) {
        for slot in &mut self.slots {
            if woken & (1 << slot.http_flag | 1 << slot.body_flag) != 0 {
                slot.poll(&self.wakes);
            }
        }
    }
}

impl<C: Future + GracefulShutdown> Connection<C> {
    /// Tells a client that has no call under way that the connection goes, if its socket takes that at once.
    fn say_goodbye(&mut self) {
        if !self.closing && self.shared.streams.is_idle() {
            self.connection.as_mut().shut_down_gracefully();
            drop(self.connection.as_mut().poll(&mut Context::from_waker(&self.waker)));
        }
    }
}

impl<C> Drop for Connection<C> {
    fn drop(&mut self) {
        // Streams that came last hold what holds them.
        let handed_over = std::mem::take(&mut *self.shared.handed_over.lock());
        drop(handed_over);
    }
}

impl<C: Future + GracefulShutdown> Future for Connection<C> {
    /// What the connection itself ends with; `None` when it was closed.
    type Output = Option<C::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        for _ in 0..POLLS_PER_WAKE {
            let woken = this.wakes.take();
            if woken & (1 << CLOSE_REQUEST) != 0 {
                if this.shared.is_requested(CloseRequest::Now) {
                    this.say_goodbye();
                    return Poll::Ready(None);
                }
                if this.shared.is_requested(CloseRequest::Graceful) && !std::mem::replace(&mut this.closing, true) {
                    this.connection.as_mut().shut_down_gracefully();
                    this.wakes.set(HTTP);
                }
            }
            if woken & (1 << HANDED_OVER) != 0 {
                this.adopt();
            }
            // Before the connection, which then sends what they have.
            this.poll_slots(woken);
            if woken & (1 << HTTP) != 0
                && let Poll::Ready(ended) = this.connection.as_mut().poll(&mut Context::from_waker(&this.waker))
            {
                return Poll::Ready(Some(ended));
            }
            if this.wakes.park(cx.waker()).is_pending() {
                return Poll::Pending;
            }
        }
        // Others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
