//! What carries the streams of one connection.
//!
//! hyper runs a connection in one task and each of its streams in another: two
//! wake-ups and two walks through cold memory for each update that is sent. Streams of
//! updates ride in the task of their connection instead, so many of them as
//! [`Signal`] has bells for; all others, which may have more to do than to copy
//! bytes, have tasks of their own.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::signal::Signal;
use super::watchdog::Reader;

/// The bells of a connection: for the body of its first passenger, most often the only
/// one, which has the shortest way; for the connection itself, for streams that join it,
/// for an order; and those of its passengers.
const FIRST: u32 = 0;
const CONNECTION: u32 = 1;
const JOINED: u32 = 2;
const ORDER: u32 = 3;
const PASSENGERS: u32 = 4;

/// So many times in a row a connection is looked at before other tasks have their turn.
const ROUNDS: u32 = 4;

/// What a connection is told; each outdoes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Stay,
    /// Take no new streams, and end with the last one.
    Leave,
    /// Its streams are to say goodbye, each at a time of its own within this one.
    SayGoodbye(Duration),
    /// End what cannot say goodbye, with a status.
    EndStreams,
    /// End now.
    Close,
}

impl Order {
    const fn rank(self) -> u8 {
        match self {
            Self::Stay => 0,
            Self::Leave => 1,
            Self::SayGoodbye(_) => 2,
            Self::EndStreams => 3,
            Self::Close => 4,
        }
    }
}

/// What is shared by the parts of one connection.
#[derive(Debug)]
pub(super) struct Carriage {
    signal: Arc<Signal>,
    /// [`Order::rank`].
    order: AtomicU8,
    /// In milliseconds; see [`Order::SayGoodbye`].
    spread: AtomicU32,
    /// Rings with each order.
    told: Notify,
    /// Bytes that came.
    heard: AtomicUsize,
    /// The next stream: who reads it, and whether it rides along.
    expected: Mutex<Option<(Arc<Reader>, bool)>>,
    joined: Mutex<Vec<Stream>>,
}

impl Carriage {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            signal: Signal::new(),
            order: AtomicU8::new(Order::Stay.rank()),
            spread: AtomicU32::new(0),
            told: Notify::new(),
            heard: AtomicUsize::new(0),
            expected: Mutex::new(None),
            joined: Mutex::new(Vec::new()),
        })
    }

    /// Names who reads the stream that hyper is about to hand over.
    pub(super) fn expect(&self, reader: Arc<Reader>, rides: bool) {
        *self.expected.lock() = Some((reader, rides));
    }

    /// Tells the connection what to do.
    pub(super) fn tell(&self, order: Order) {
        if let Order::SayGoodbye(spread) = order {
            self.spread.store(u32::try_from(spread.as_millis()).unwrap_or(u32::MAX), Ordering::Release);
        }
        if self.order.fetch_max(order.rank(), Ordering::AcqRel) < order.rank() {
            self.told.notify_waiters();
            self.signal.ring(ORDER);
        }
    }

    pub(super) fn is_told(&self, order: Order) -> bool {
        self.order.load(Ordering::Acquire) >= order.rank()
    }

    /// Resolves with the next order.
    pub(super) fn orders(&self) -> Notified<'_> {
        self.told.notified()
    }

    /// The time that its streams have to say goodbye; `None` = they stay.
    pub(super) fn says_goodbye(&self) -> Option<Duration> {
        let spread = || Duration::from_millis(self.spread.load(Ordering::Acquire).into());
        self.is_told(Order::SayGoodbye(Duration::ZERO)).then(spread)
    }

    /// Resolves when what is still open is to end with a status.
    pub(super) async fn ends_streams(&self) {
        loop {
            let orders = self.orders();
            tokio::pin!(orders);
            orders.as_mut().enable();
            if self.is_told(Order::EndStreams) {
                return;
            }
            orders.await;
        }
    }

    /// Ends the connection when it is woken.
    pub(super) fn end(self: &Arc<Self>) -> Waker {
        Arc::new(End(Arc::clone(self))).into()
    }

    /// Counts bytes that came.
    pub(super) fn hear(&self, bytes: usize) {
        self.heard.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The bytes that came.
    pub(super) fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }
}

struct End(Arc<Carriage>);

impl Wake for End {
    fn wake(self: Arc<Self>) {
        self.0.tell(Order::Close);
    }
}

/// Takes the streams of one connection from hyper.
#[derive(Clone, Debug)]
pub(super) struct Boarding(pub(super) Arc<Carriage>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Boarding {
    fn execute(&self, stream: F) {
        let (reader, rides) = self.0.expected.lock().take().unzip();
        let stream = Stream { future: Box::pin(stream), reader };
        if rides.unwrap_or(false) {
            self.0.joined.lock().push(stream);
            self.0.signal.ring(JOINED);
        } else {
            spawn(stream);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "hyper owns its tasks: they end with their connection")]
fn spawn(stream: Stream) {
    tokio::spawn(stream);
}

/// A stream, which ends when its reader is cut off.
struct Stream {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    reader: Option<Arc<Reader>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Stream {
    /// True when its body was asked, and has nothing.
    fn waits(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.waits())
    }
}

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(reader) = &self.reader {
            reader.carried_by(cx.waker());
            if reader.is_cut() {
                return Poll::Ready(());
            }
        }
        self.future.as_mut().poll(cx)
    }
}

/// A place for a stream in the task of its connection.
#[derive(Debug)]
struct Place {
    stream: Option<Stream>,
    /// The bell that HTTP/2 rings, and that of the body.
    bell: u32,
    news: u32,
    waker: Waker,
}

impl Place {
    /// The next place beside so many; `None` when there are no bells for it.
    fn beside(places: usize, signal: &Arc<Signal>) -> Option<Self> {
        let bell = u32::try_from(places).ok().map(|places| PASSENGERS + 2 * places)?;
        let news = if places == 0 { FIRST } else { bell - 1 };
        (bell < Signal::BELLS).then(|| Self { stream: None, bell, news, waker: signal.bell(bell) })
    }

    fn take(&mut self, stream: Stream, signal: &Arc<Signal>) {
        // The body has a bell of its own.
        if let Some(reader) = &stream.reader {
            reader.rung_by(&signal.bell(self.news));
        }
        self.stream = Some(stream);
        signal.ring(self.bell);
    }

    /// Looks after the stream.
    fn serve(&mut self, signal: &Signal) {
        let Some(stream) = &mut self.stream else { return };
        let mut cx = Context::from_waker(&self.waker);
        // A stream that panics ends alone, as it would in a task of its own.
        let looked = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *stream).poll(&mut cx)));
        match looked {
            // HTTP/2 rings for room that the stream has just asked for itself.
            Ok(Poll::Pending) if stream.waits() => signal.hush(self.bell),
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => self.stream = None,
            Err(_) => {
                tracing::error!("a stream failed");
                self.stream = None;
            }
        }
    }
}

/// A connection with those of its streams that ride along.
#[derive(Debug)]
pub(super) struct Connection<C> {
    connection: Pin<Box<C>>,
    bell: Waker,
    /// That of `carriage`, which is not looked at for an update.
    signal: Arc<Signal>,
    carriage: Arc<Carriage>,
    leaving: bool,
    places: Vec<Place>,
}

/// What can be told to take no new streams.
pub(super) trait Leave {
    fn leave(self: Pin<&mut Self>);
}

impl<C> Connection<C> {
    pub(super) fn new(connection: C, carriage: Arc<Carriage>) -> Self {
        let signal = Arc::clone(&carriage.signal);
        let bell = signal.bell(CONNECTION);
        Self { connection: Box::pin(connection), bell, signal, carriage, leaving: false, places: Vec::new() }
    }

    fn board(&mut self) {
        let signal = &self.signal;
        for stream in self.carriage.joined.lock().drain(..) {
            if let Some(free) = self.places.iter_mut().find(|place| place.stream.is_none()) {
                free.take(stream, signal);
            } else if let Some(mut place) = Place::beside(self.places.len(), signal) {
                place.take(stream, signal);
                self.places.push(place);
            } else {
                spawn(stream);
            }
        }
    }

    /// Looks after the streams whose bells were rung.
    fn serve(&mut self, rung: u64) {
        for place in &mut self.places {
            if rung & (1 << place.bell | 1 << place.news) != 0 {
                place.serve(&self.signal);
            }
        }
    }
}

impl<C> Drop for Connection<C> {
    fn drop(&mut self) {
        // Streams that came last hold what holds them.
        let joined = std::mem::take(&mut *self.carriage.joined.lock());
        drop(joined);
    }
}

impl<C: Future + Leave> Future for Connection<C> {
    /// What the connection itself ends with; `None` when it was closed.
    type Output = Option<C::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            let rung = this.signal.take();
            if rung & (1 << ORDER) != 0 {
                if this.carriage.is_told(Order::Close) {
                    return Poll::Ready(None);
                }
                if this.carriage.is_told(Order::Leave) && !std::mem::replace(&mut this.leaving, true) {
                    this.connection.as_mut().leave();
                    this.signal.ring(CONNECTION);
                }
            }
            if rung & (1 << JOINED) != 0 {
                this.board();
            }
            // Before the connection, which then sends what they have.
            this.serve(rung);
            if rung & (1 << CONNECTION) != 0
                && let Poll::Ready(ended) = this.connection.as_mut().poll(&mut Context::from_waker(&this.bell))
            {
                return Poll::Ready(Some(ended));
            }
            if this.signal.rest(cx.waker()).is_pending() {
                return Poll::Pending;
            }
        }
        // Others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::grpc::watchdog::Watchdog;

    /// A connection that does this.
    struct Line(BoxFuture<'static, ()>);

    impl Future for Line {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.0.as_mut().poll(cx)
        }
    }

    impl Leave for Line {
        fn leave(self: Pin<&mut Self>) {}
    }

    /// Hands `stream` over as hyper does.
    fn hand_over(carriage: &Arc<Carriage>, stream: impl Future<Output = ()> + Send + 'static) {
        carriage.expect(Watchdog::new(Duration::from_secs(1)).reader(), true);
        Boarding(Arc::clone(carriage)).execute(stream);
    }

    fn poll<C: Future + Leave>(connection: &mut Connection<C>) -> Poll<Option<C::Output>> {
        Pin::new(connection).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_stream_that_comes_as_its_connection_ends_goes_with_it() {
        let carriage = Carriage::new();
        let left = Arc::downgrade(&carriage);
        let of_line = Arc::clone(&carriage);
        let line = Line(Box::pin(async move {
            let rider = Arc::clone(&of_line);
            hand_over(&of_line, async move {
                let _held = rider;
                pending().await
            });
        }));
        let mut connection = Connection::new(line, carriage);
        assert!(poll(&mut connection).is_ready());
        drop(connection);
        assert!(left.upgrade().is_none());
    }

    #[test]
    fn a_stream_that_panics_takes_nobody_along() {
        let carriage = Carriage::new();
        let looks = Arc::<AtomicUsize>::default();
        let mut connection = Connection::new(Line(Box::pin(pending())), Arc::clone(&carriage));
        hand_over(&carriage, async { panic!("on purpose") });
        let counted = Arc::clone(&looks);
        hand_over(
            &carriage,
            poll_fn(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                Poll::Pending
            }),
        );
        assert!(poll(&mut connection).is_pending());
        assert!(looks.load(Ordering::Relaxed) > 0);
        assert_eq!(connection.places.iter().filter(|place| place.stream.is_some()).count(), 1);
        carriage.tell(Order::Close);
        assert!(poll(&mut connection).is_ready());
    }
}
