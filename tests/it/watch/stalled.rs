//! A client that stops reading never delays another, and misses nothing itself.

use starling_client::pb::swarm::v1::ResetReason;

use crate::harness::Server;
use crate::watch::fixture::{LivestreamFixture, NEVER, livestream, narrow, next, shape};
use crate::watch::fold::{RosterFold, TargetFold};

/// Less than any message: the server can send the beginning of one.
const WINDOW: u32 = 16;

#[tokio::test]
async fn a_client_that_stops_reading_never_delays_another() {
    let server = Server::with(|config| config.streams.heartbeat_interval = NEVER).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    // Two that never read anything, and one that reads.
    let stalled = livestream.through_channel(narrow(&server, WINDOW).await);
    let _events = stalled.watch().await;
    let _targets = stalled.watch_targets(None).await;
    let mut stream = livestream.watch().await;
    let mut list = livestream.watch_targets(None).await;
    let (mut fold, mut targets) = (RosterFold::default(), TargetFold::begin(next(&mut list).await));
    for round in 0..200 {
        let revision = livestream.join(10 + round % 40).await.revision;
        // In lockstep: whatever held the next change back would end the test here.
        while fold.revision < revision {
            assert_eq!(fold.take(next(&mut stream).await), None);
        }
        while targets.revision < revision {
            assert_eq!(targets.take(next(&mut list).await), None);
        }
    }
    fold.assert_is(&livestream.viewers().await);
    assert_eq!(targets.now, livestream.targets(None).await.targets.unwrap().into());
}

#[tokio::test]
async fn lapped_watcher_is_reset_and_ends_exact() {
    let server = Server::with(|config| config.store.event_log_revisions = 16).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let slow = livestream.through_channel(narrow(&server, WINDOW).await);
    let mut stream = slow.watch().await;
    let mut fold = RosterFold::default();
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    // What a watch holds in hand is small; after that the log has gone round.
    for _ in 0..20 {
        livestream.join_all(10..20).await;
        for node in 10..19 {
            livestream.leave(node).await;
        }
    }
    let last = livestream.get().await.revision;
    while !fold.live || fold.revision < last {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!(fold.resets, [ResetReason::Fresh, ResetReason::Lapped]);
    fold.assert_is(&livestream.viewers().await);
}

#[tokio::test]
async fn paused_watcher_within_the_log_loses_nothing() {
    let (server, livestream) = livestream(shape(4, 2)).await;
    let slow = livestream.through_channel(narrow(&server, WINDOW).await);
    let mut stream = slow.watch().await;
    let mut fold = RosterFold::default();
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    for _ in 0..20 {
        livestream.join_all(10..20).await;
        for node in 10..20 {
            livestream.leave(node).await;
        }
    }
    let last = livestream.get().await.revision;
    while fold.revision < last {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    // The fold takes no hole.
    assert_eq!((fold.resets.len(), fold.log.len() as u64), (1, last - 1));
}

/// Each of these streams holds more than half a megabyte that nobody reads; all
/// together more than one stream may.
#[tokio::test]
async fn unread_streams_leave_room_on_their_connection() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join_all_at_length(10..1_010).await;
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(livestream.watch().await);
    }
    let (mut stream, mut fold) = (livestream.watch().await, RosterFold::default());
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    fold.assert_is(&livestream.viewers().await);
}
