//! How watches end: a goodbye that says why, then the status.

use std::fmt::Debug;
use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::livestream_event::Change as Event;
use starling_client::pb::swarm::v1 as shared;
use starling_client::pb::swarm::v1::GoodbyeReason;
use tonic::{Code, Status, Streaming};

use crate::harness::{Fault, Server, retry_delay};
use crate::watch::fixture::{ALL, LivestreamFixture, ROOT, end, livestream, next, shape};
use crate::watch::fold::{CensusFold, RosterFold, TargetFold};

/// What a message says at the end, if it is the last one.
trait Last: Debug {
    fn goodbye(&self) -> Option<shared::Goodbye>;
}

macro_rules! last {
    ($($message:ident, $module:ident;)*) => {$(
        impl Last for pb::$message {
            fn goodbye(&self) -> Option<shared::Goodbye> {
                match &self.event {
                    Some(pb::$module::Event::Goodbye(goodbye)) => Some(*goodbye),
                    _ => None,
                }
            }
        }
    )*};
}

last! {
    WatchTargetsResponse, watch_targets_response;
    WatchLivestreamResponse, watch_livestream_response;
    WatchLivestreamsResponse, watch_livestreams_response;
}

/// Reads to the end: the goodbye, which is the last message, and the status.
async fn read_goodbye<M: Last>(stream: &mut Streaming<M>) -> (GoodbyeReason, Option<Duration>, Result<(), Status>) {
    loop {
        if let Some(goodbye) = next(stream).await.goodbye() {
            let retry_after = goodbye.retry_after.map(|after| after.try_into().unwrap());
            return (goodbye.reason(), retry_after, end(stream).await);
        }
    }
}

#[track_caller]
fn assert_ok(ending: (GoodbyeReason, Option<Duration>, Result<(), Status>), reason: GoodbyeReason) {
    let (told, retry_after, status) = ending;
    assert_eq!((told, retry_after), (reason, None));
    status.expect("the stream ends with OK");
}

#[track_caller]
fn assert_stays_away(
    ending: (GoodbyeReason, Option<Duration>, Result<(), Status>),
    reason: GoodbyeReason,
    code: Code,
    why: &str,
) {
    let (told, retry_after, status) = ending;
    let status = status.unwrap_err();
    assert_eq!((told, retry_after, Fault::of(&status)), (reason, None, Fault::new(code, why)));
    assert_eq!(retry_delay(&status), None, "there is nothing to retry");
}

#[track_caller]
fn assert_comes_back(ending: (GoodbyeReason, Option<Duration>, Result<(), Status>), reason: GoodbyeReason, why: &str) {
    let (told, retry_after, status) = ending;
    let status = status.unwrap_err();
    assert_eq!((told, Fault::of(&status)), (reason, Fault::new(Code::Unavailable, why)));
    assert!(retry_after.is_some(), "the goodbye says when to come back");
    assert_eq!(retry_delay(&status), retry_after, "and so does the status");
}

#[tokio::test]
async fn end_is_event_then_goodbye_ended_then_ok() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let session = livestream.join(10).await.session_id;
    let epoch = livestream.get().await.epoch;
    let mut events = livestream.watch_from(&ALL, Some((epoch, 2))).await;
    let mut tied = livestream.watch_as(10, session).await;
    let mut targets = livestream.watch_targets_as(Some(10), session).await;
    let mut observer = livestream.watch_targets(None).await;
    let last = livestream.end().await;

    let mut fold = RosterFold::at(epoch, 2);
    assert_eq!(fold.take(next(&mut events).await), None);
    assert_eq!((fold.revision, fold.state), (last, pb::LivestreamState::Ended));
    let message = next(&mut events).await;
    assert_eq!((message.epoch, message.revision), (epoch, last), "the goodbye names what was told");
    assert_eq!(message.goodbye().unwrap().reason(), GoodbyeReason::Ended);
    end(&mut events).await.expect("the stream ends with OK");

    let mut fold = RosterFold::default();
    while fold.state != pb::LivestreamState::Ended {
        assert_eq!(fold.take(next(&mut tied).await), None, "the end is told before the goodbye");
    }
    assert_ok(read_goodbye(&mut tied).await, GoodbyeReason::Ended);
    assert_ok(read_goodbye(&mut targets).await, GoodbyeReason::Ended);
    assert_ok(read_goodbye(&mut observer).await, GoodbyeReason::Ended);
}

/// Forgotten at once, or replaced by another incarnation before the watcher looks.
#[tokio::test]
async fn end_is_told_after_the_livestream_is_gone() {
    let server = Server::with(|config| config.retention.ended = Duration::ZERO).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    for _ in 0..50 {
        let created = livestream.create_again(shape(50, 5)).await;
        let mut events = livestream.watch_from(&ALL, Some((created.epoch, created.revision))).await;
        livestream.end().await;
        livestream.create_again(shape(50, 5)).await;
        let message = next(&mut events).await;
        let [Event::StateChanged(changed)] = &crate::watch::fixture::events(&message)[..] else {
            panic!("{message:?}")
        };
        assert_eq!(changed.state(), pb::LivestreamState::Ended);
        assert_ok(read_goodbye(&mut events).await, GoodbyeReason::Ended);
        livestream.end().await;
    }
}

#[tokio::test]
async fn session_replaced_is_failed_precondition() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let session = livestream.join(10).await.session_id;
    let mut events = livestream.watch_as(10, session).await;
    let mut targets = livestream.watch_targets_as(Some(10), session).await;
    let mut follower = livestream.watch_targets(Some(10)).await;
    TargetFold::begin(next(&mut follower).await);
    let again = livestream.join(10).await;
    let (reason, code, why) = (GoodbyeReason::Replaced, Code::FailedPrecondition, "SESSION_REPLACED");
    assert_stays_away(read_goodbye(&mut events).await, reason, code, why);
    assert_stays_away(read_goodbye(&mut targets).await, reason, code, why);
    // The new session's streams, and those that name the node alone, go on.
    let mut new = livestream.watch_targets_as(Some(10), again.session_id).await;
    let mut fold = TargetFold::begin(next(&mut new).await);
    livestream.transfer(ROOT, 10).await;
    assert_eq!(fold.take(next(&mut new).await), None);
    next(&mut follower).await;
}

#[tokio::test]
async fn removed_is_permission_denied() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let session = livestream.join(10).await.session_id;
    let mut events = livestream.watch_as(10, session).await;
    let mut targets = livestream.watch_targets_as(Some(10), session).await;
    let mut follower = livestream.watch_targets(Some(10)).await;
    let mut observer = livestream.watch().await;
    let removed = livestream.remove(10).await;
    let (reason, code, why) = (GoodbyeReason::Removed, Code::PermissionDenied, "REMOVED");
    assert_stays_away(read_goodbye(&mut events).await, reason, code, why);
    assert_stays_away(read_goodbye(&mut targets).await, reason, code, why);
    // A stream that names the node alone is the node's too; an observer's is nobody's.
    assert_stays_away(read_goodbye(&mut follower).await, reason, code, why);
    let mut fold = RosterFold::default();
    while fold.revision < removed {
        assert_eq!(fold.take(next(&mut observer).await), None);
    }
}

#[tokio::test]
async fn leaving_node_gets_goodbye_left_then_ok() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let session = livestream.join(10).await.session_id;
    let mut events = livestream.watch_as(10, session).await;
    let mut targets = livestream.watch_targets_as(Some(10), session).await;
    let mut follower = livestream.watch_targets(Some(10)).await;
    livestream.leave(10).await;
    assert_ok(read_goodbye(&mut events).await, GoodbyeReason::Left);
    assert_ok(read_goodbye(&mut targets).await, GoodbyeReason::Left);
    assert_ok(read_goodbye(&mut follower).await, GoodbyeReason::Left);
}

#[tokio::test]
async fn stream_age_is_goodbye_and_unavailable() {
    let server = Server::with(|config| config.streams.max_age = Duration::from_millis(300)).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let session = livestream.join(10).await.session_id;
    let mut events = livestream.watch_as(10, session).await;
    let mut targets = livestream.watch_targets_as(Some(10), session).await;
    let mut set =
        livestream.client.clone().watch_livestreams(pb::WatchLivestreamsRequest::default()).await.unwrap().into_inner();
    assert_comes_back(read_goodbye(&mut events).await, GoodbyeReason::StreamAge, "STREAM_AGE");
    assert_comes_back(read_goodbye(&mut targets).await, GoodbyeReason::StreamAge, "STREAM_AGE");
    assert_comes_back(read_goodbye(&mut set).await, GoodbyeReason::StreamAge, "STREAM_AGE");
    // The session lives; the client resumes.
    livestream.watch_as(10, session).await;
}

/// The position of the goodbye is as good as any other.
#[tokio::test]
async fn watch_resumed_at_each_stream_age_loses_nothing() {
    let server = Server::with(|config| config.streams.max_age = Duration::from_millis(20)).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let busy = livestream.through(server.client().await);
    let churn = async {
        for _ in 0..30 {
            busy.join_all(10..20).await;
            for node in 10..20 {
                busy.leave(node).await;
            }
        }
        busy.end().await
    };
    let watch = async {
        let epoch = livestream.get().await.epoch;
        let (mut fold, mut streams) = (RosterFold::at(epoch, 0), 0);
        loop {
            let mut stream = livestream.watch_from(&ALL, fold.position()).await;
            streams += 1;
            let goodbye = loop {
                let message = next(&mut stream).await;
                let named = message.revision;
                if let Some(goodbye) = fold.take(message) {
                    assert_eq!(named, fold.revision);
                    break goodbye;
                }
            };
            if goodbye.reason() == GoodbyeReason::Ended {
                return (fold, streams);
            }
        }
    };
    let (last, (fold, streams)) = tokio::join!(churn, watch);
    assert_eq!((fold.revision, fold.resets.len()), (last, 0));
    assert!(streams > 3, "{streams} streams");
}

#[tokio::test]
async fn draining_is_goodbye_and_unavailable() {
    let (server, livestream) = livestream(shape(50, 5)).await;
    let session = livestream.join(10).await.session_id;
    let mut events = livestream.watch_as(10, session).await;
    let mut targets = livestream.watch_targets_as(Some(10), session).await;
    let mut observer = livestream.watch_targets(None).await;
    let mut set =
        livestream.client.clone().watch_livestreams(pb::WatchLivestreamsRequest::default()).await.unwrap().into_inner();
    assert_eq!(server.open_streams(), 4);
    server.drain();
    assert_comes_back(read_goodbye(&mut events).await, GoodbyeReason::Draining, "DRAINING");
    assert_comes_back(read_goodbye(&mut targets).await, GoodbyeReason::Draining, "DRAINING");
    assert_comes_back(read_goodbye(&mut observer).await, GoodbyeReason::Draining, "DRAINING");
    assert_comes_back(read_goodbye(&mut set).await, GoodbyeReason::Draining, "DRAINING");
    server.shutdown().await;
}

/// A client comes back at once after STREAM_AGE: to a server that goes it must not.
#[tokio::test]
async fn stream_aging_during_a_drain_is_draining() {
    let server = Server::with(|config| {
        config.streams.max_age = Duration::from_millis(500);
        // The draw of a time within the spread is not what ends it.
        config.drain.spread = Duration::from_secs(86_400);
    })
    .await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let mut events = livestream.watch().await;
    server.drain();
    assert_comes_back(read_goodbye(&mut events).await, GoodbyeReason::Draining, "DRAINING");
}

#[tokio::test]
async fn a_goodbye_of_the_set_moves_no_position() {
    let (server, livestream) = livestream(shape(50, 5)).await;
    livestream.describe(b"final").await;
    let mut stream =
        livestream.client.clone().watch_livestreams(pb::WatchLivestreamsRequest::default()).await.unwrap().into_inner();
    let mut fold = CensusFold::default();
    while !fold.in_sync {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    server.drain();
    // The fold compares.
    assert_eq!(fold.take(next(&mut stream).await).unwrap().reason(), GoodbyeReason::Draining);
}

#[tokio::test]
async fn lease_expired_is_failed_precondition() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join_briefly(10).await;
    // They name the node and not its session, and so do not keep it alive.
    let mut events = livestream.watch_as(10, 0).await;
    let mut targets = livestream.watch_targets(Some(10)).await;
    let (reason, code, why) = (GoodbyeReason::LeaseExpired, Code::FailedPrecondition, "NOT_A_MEMBER");
    assert_stays_away(read_goodbye(&mut events).await, reason, code, why);
    assert_stays_away(read_goodbye(&mut targets).await, reason, code, why);
}
