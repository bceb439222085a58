//! A client that stops reading never delays another, and misses nothing itself.

use starling_client::pb::swarm::v1::ResetReason;

use crate::harness::Server;
use crate::watch::fold::{RosterFold, TargetFold};
use crate::watch::stage::{NEVER, Show, livestream, narrow, next, shape};

/// Less than any message: the server can send the beginning of one.
const WINDOW: u32 = 16;

#[tokio::test]
async fn a_client_that_stops_reading_never_delays_another() {
    let server = Server::with(|config| config.streams.heartbeat_interval = NEVER).await;
    let show = Show::create(server.client().await, 7, shape(50, 5)).await;
    // Two that never read anything, and one that reads.
    let stalled = show.through_channel(narrow(&server, WINDOW).await);
    let _events = stalled.watch().await;
    let _targets = stalled.watch_targets(None).await;
    let mut stream = show.watch().await;
    let mut list = show.watch_targets(None).await;
    let (mut fold, mut targets) = (RosterFold::default(), TargetFold::begin(next(&mut list).await));
    for round in 0..200 {
        let revision = show.join(10 + round % 40).await.revision;
        // In lockstep: whatever held the next change back would end the test here.
        while fold.revision < revision {
            assert_eq!(fold.take(next(&mut stream).await), None);
        }
        while targets.revision < revision {
            assert_eq!(targets.take(next(&mut list).await), None);
        }
    }
    fold.assert_is(&show.viewers().await);
    assert_eq!(targets.now, show.targets(None).await.targets.unwrap().into());
}

#[tokio::test]
async fn a_watcher_that_falls_behind_the_log_is_reset_lapped_and_ends_exact() {
    let server = Server::with(|config| config.store.event_log_revisions = 16).await;
    let show = Show::create(server.client().await, 7, shape(50, 5)).await;
    let slow = show.through_channel(narrow(&server, WINDOW).await);
    let mut stream = slow.watch().await;
    let mut fold = RosterFold::default();
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    // What a watch holds in hand is small; after that the log has gone round.
    for _ in 0..20 {
        show.join_all(10..20).await;
        for node in 10..19 {
            show.leave(node).await;
        }
    }
    let last = show.get().await.revision;
    while !fold.live || fold.revision < last {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!(fold.resets, [ResetReason::Fresh, ResetReason::Lapped]);
    fold.assert_is(&show.viewers().await);
}

#[tokio::test]
async fn a_watcher_that_pauses_within_the_log_loses_nothing() {
    let (server, show) = livestream(shape(4, 2)).await;
    let slow = show.through_channel(narrow(&server, WINDOW).await);
    let mut stream = slow.watch().await;
    let mut fold = RosterFold::default();
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    for _ in 0..20 {
        show.join_all(10..20).await;
        for node in 10..20 {
            show.leave(node).await;
        }
    }
    let last = show.get().await.revision;
    while fold.revision < last {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    // The fold takes no hole.
    assert_eq!((fold.resets.len(), fold.log.len() as u64), (1, last - 1));
}

/// Each of these streams holds more than half a megabyte that nobody reads; all
/// together more than one stream may.
#[tokio::test]
async fn streams_that_are_not_read_leave_room_for_others_of_the_same_connection() {
    let (_server, show) = livestream(shape(50, 5)).await;
    show.join_all_at_length(10..1_010).await;
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(show.watch().await);
    }
    let (mut stream, mut fold) = (show.watch().await, RosterFold::default());
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    fold.assert_is(&show.viewers().await);
}
