//! Streams in the task of their connection.

use std::future::{pending, poll_fn};

use futures_util::future::BoxFuture;

use super::*;
use crate::transport::stall::StallDetector;

/// A connection that does this.
struct FakeConnection(BoxFuture<'static, ()>);

impl Future for FakeConnection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl GracefulShutdown for FakeConnection {
    fn shut_down_gracefully(self: Pin<&mut Self>) {}
}

/// Hands `stream` over as hyper does.
fn hand_over(shared: &Arc<ConnectionShared>, stream: impl Future<Output = ()> + Send + 'static) {
    shared.expect_stream(StallDetector::new(Duration::from_secs(1), Duration::from_secs(1)).stream(None), true);
    StreamExecutor(Arc::clone(shared)).execute(stream);
}

fn poll<C: Future + GracefulShutdown>(connection: &mut Connection<C>) -> Poll<Option<C::Output>> {
    Pin::new(connection).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn late_stream_ends_with_its_connection() {
    let shared = ConnectionShared::unbounded();
    let left = Arc::downgrade(&shared);
    let of_fake = Arc::clone(&shared);
    let fake = FakeConnection(Box::pin(async move {
        let stream = Arc::clone(&of_fake);
        hand_over(&of_fake, async move {
            let _held = stream;
            pending().await
        });
    }));
    let mut connection = Connection::new(fake, shared);
    assert!(poll(&mut connection).is_ready());
    drop(connection);
    assert!(left.upgrade().is_none());
}

#[test]
fn panicking_stream_leaves_others_running() {
    let shared = ConnectionShared::unbounded();
    let looks = Arc::<AtomicUsize>::default();
    let mut connection = Connection::new(FakeConnection(Box::pin(pending())), Arc::clone(&shared));
    hand_over(&shared, async { panic!("on purpose") });
    let counted = Arc::clone(&looks);
    hand_over(
        &shared,
        poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        }),
    );
    assert!(poll(&mut connection).is_pending());
    assert!(looks.load(Ordering::Relaxed) > 0);
    assert_eq!(connection.slots.iter().filter(|slot| slot.stream.is_some()).count(), 1);
    shared.request(CloseRequest::Now);
    assert!(poll(&mut connection).is_ready());
}
