//! Sessions and the streams that keep them alive, and what else falls due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use starling::clock::Clock;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::livestream_event::Change as Event;
use starling_client::pb::swarm::v1::{GoodbyeReason, LeaveReason};
use tokio::time::Instant;
use tonic::{Code, Streaming};

use crate::harness::{Fault, Server, fault, soon};
use crate::watch::fixture::{LivestreamFixture, events, livestream, next, shape};
use crate::watch::fold::TargetFold;

/// Reads until somebody leaves: who, and why.
async fn next_leave(stream: &mut Streaming<pb::WatchLivestreamResponse>) -> (u64, u64, LeaveReason) {
    loop {
        for event in events(&next(stream).await) {
            if let Event::ViewerLeft(left) = event {
                return (left.node_id, left.session_id, left.reason());
            }
        }
    }
}

async fn is_in(livestream: &LivestreamFixture, node: u64) -> bool {
    livestream.viewers().await.iter().any(|viewer| viewer.node_id == node)
}

/// Two leases of others run out one after the other while a stream is open: more
/// than twice its own.
#[tokio::test]
async fn a_stream_keeps_its_session_beyond_its_lease() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let mut log = livestream.watch().await;
    let kept = livestream.join_briefly(10).await.session_id;
    let mut targets = livestream.watch_targets_as(Some(10), kept).await;
    TargetFold::begin(next(&mut targets).await);
    let also = livestream.join_briefly(11).await.session_id;
    let _events = livestream.watch_as(11, also).await;
    for node in [20, 21] {
        let session = livestream.join_briefly(node).await.session_id;
        assert_eq!(next_leave(&mut log).await, (node, session, LeaveReason::Timeout));
    }
    for viewer in livestream.viewers().await {
        assert!(viewer.attached && [10, 11].contains(&viewer.node_id), "{viewer:?}");
    }
    // Without the stream it is detached, and its lease runs.
    drop(targets);
    assert_eq!(next_leave(&mut log).await, (10, kept, LeaveReason::Timeout));
    assert!(is_in(&livestream, 11).await);
}

#[tokio::test]
async fn session_lives_while_one_stream_does() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let mut log = livestream.watch().await;
    let kept = livestream.join_briefly(10).await.session_id;
    let first = livestream.watch_targets_as(Some(10), kept).await;
    let second = livestream.watch_as(10, kept).await;
    drop(first);
    let other = livestream.join_briefly(20).await.session_id;
    assert_eq!(next_leave(&mut log).await, (20, other, LeaveReason::Timeout));
    assert!(is_in(&livestream, 10).await);
    drop(second);
    assert_eq!(next_leave(&mut log).await, (10, kept, LeaveReason::Timeout));
}

#[tokio::test]
async fn a_reconnect_within_the_lease_keeps_the_session() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let mut log = livestream.watch().await;
    let kept = livestream.join_briefly(10).await;
    for node in [20, 21] {
        drop(livestream.watch_targets_as(Some(10), kept.session_id).await);
        let _again = livestream.watch_targets_as(Some(10), kept.session_id).await;
        livestream.join_briefly(node).await;
        assert_eq!(next_leave(&mut log).await.0, node);
    }
    let viewer = livestream.viewers().await.remove(0);
    assert_eq!((viewer.node_id, viewer.session_id), (10, kept.session_id));
    assert_eq!(viewer.placement, kept.viewer.unwrap().placement);
}

#[tokio::test]
async fn stream_without_session_does_not_renew_the_lease() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let mut log = livestream.watch().await;
    let session = livestream.join_briefly(10).await.session_id;
    let mut targets = livestream.watch_targets(Some(10)).await;
    let _events = livestream.watch_as(10, 0).await;
    assert_eq!(next_leave(&mut log).await, (10, session, LeaveReason::Timeout));
    let mut fold = TargetFold::begin(next(&mut targets).await);
    assert_eq!(fold.take(next(&mut targets).await).unwrap().reason(), GoodbyeReason::LeaseExpired);
}

#[tokio::test]
async fn expired_session_cannot_be_attached_again() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let mut log = livestream.watch().await;
    let session = livestream.join_briefly(10).await.session_id;
    assert_eq!(next_leave(&mut log).await, (10, session, LeaveReason::Timeout));
    let request = pb::WatchTargetsRequest {
        livestream_id: livestream.id,
        of_node_id: 10,
        session_id: session,
        node_id: 10,
        ..Default::default()
    };
    let refused = fault(livestream.client.clone().watch_targets(request).await);
    assert_eq!(refused, Fault::new(Code::FailedPrecondition, "NOT_A_MEMBER"));
    // It joins again, and then the old session is another's.
    let new = livestream.join(10).await.session_id;
    let refused = fault(livestream.client.clone().watch_targets(request).await);
    assert_eq!(refused, Fault::new(Code::FailedPrecondition, "SESSION_REPLACED"));
    livestream.watch_targets_as(Some(10), new).await;
}

#[tokio::test]
async fn renew_lease_keeps_a_session_without_streams() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let mut log = livestream.watch().await;
    let kept = livestream.join_briefly(10).await.session_id;
    let touch = pb::RenewLeaseRequest { livestream_id: livestream.id, node_id: 10, session_id: kept };
    // A chain of leases of others, longer than its own; it is renewed all the while.
    for node in [20, 21, 22] {
        livestream.join_briefly(node).await;
        let leave = next_leave(&mut log);
        tokio::pin!(leave);
        let mut often = tokio::time::interval(Duration::from_millis(50));
        let (left, _, reason) = loop {
            tokio::select! {
                left = &mut leave => break left,
                _ = often.tick() => drop(livestream.client.clone().renew_lease(touch).await.unwrap()),
            }
        };
        assert_eq!((left, reason), (node, LeaveReason::Timeout));
    }
    assert!(is_in(&livestream, 10).await);
    assert_eq!(next_leave(&mut log).await, (10, kept, LeaveReason::Timeout));
}

const HOUR: u64 = 3_600_000;

/// A server, and what its wall clock is ahead of the time since it began; in milliseconds.
async fn on_a_clock() -> (Server, Arc<AtomicU64>) {
    let (began, ahead) = (Instant::now(), Arc::new(AtomicU64::new(400_000 * HOUR)));
    let seen = Arc::clone(&ahead);
    let wall = move || seen.load(Ordering::Relaxed) + u64::try_from(began.elapsed().as_millis()).unwrap();
    let server = Server::over(Clock::over(wall), |config| {
        config.streams.heartbeat_interval = Duration::from_millis(100);
        config.retention.ended = Duration::from_secs(1);
    });
    (server.await, ahead)
}

/// Waits until the server shows the hour that its wall clock was set to.
async fn wait_for_hour(livestream: &LivestreamFixture, hour: u64) {
    let mut targets = livestream.watch_targets(None).await;
    loop {
        if let Some(pb::watch_targets_response::Event::Heartbeat(heartbeat)) = next(&mut targets).await.event {
            let shown = heartbeat.server_time.expect("a heartbeat tells the time").seconds;
            return assert_eq!(u64::try_from(shown).unwrap() * 1_000 / HOUR, hour);
        }
    }
}

/// Reads until a livestream is gone.
async fn gone(census: &mut Streaming<pb::WatchLivestreamsResponse>, id: u64) {
    loop {
        if let Some(pb::watch_livestreams_response::Event::Removed(removed)) = next(census).await.event
            && removed.livestream_id == id
        {
            return;
        }
    }
}

/// What is long is not over before what is short, though by the wall clock both are.
#[tokio::test]
async fn clock_set_forward_ends_nothing_early() {
    let (server, ahead) = on_a_clock().await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let mut log = livestream.watch().await;
    let long = livestream.join(10).await.session_id;
    let timed = pb::LivestreamConfig { broadcaster_timeout: None, ..shape(50, 5) };
    let timed = LivestreamFixture::create(server.client().await, 8, timed).await;

    ahead.fetch_add(HOUR, Ordering::Relaxed);
    wait_for_hour(&livestream, 400_001).await;
    let short = livestream.join_briefly(20).await.session_id;
    assert_eq!(soon(next_leave(&mut log)).await, (20, short, LeaveReason::Timeout));
    assert_eq!(livestream.viewers().await.iter().map(|viewer| viewer.session_id).collect::<Vec<_>>(), [long]);
    assert_eq!(timed.get().await.state(), pb::LivestreamState::Initializing, "its broadcaster has five minutes");
}

/// By the wall clock nothing of this would come within an hour.
#[tokio::test]
async fn clock_set_back_delays_no_end() {
    let (server, ahead) = on_a_clock().await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let mut log = livestream.watch().await;
    let before = livestream.join_briefly(10).await.session_id;

    ahead.fetch_sub(HOUR, Ordering::Relaxed);
    wait_for_hour(&livestream, 399_999).await;
    assert_eq!(soon(next_leave(&mut log)).await, (10, before, LeaveReason::Timeout));
    let after = livestream.join_briefly(20).await.session_id;
    assert_eq!(soon(next_leave(&mut log)).await, (20, after, LeaveReason::Timeout));
    let request = pb::WatchLivestreamsRequest::default();
    let mut census = livestream.client.clone().watch_livestreams(request).await.unwrap().into_inner();
    livestream.end().await;
    soon(gone(&mut census, livestream.id)).await;
}
