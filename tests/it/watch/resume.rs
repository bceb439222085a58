//! WatchLivestream: resume yields contiguous events or a reset, and says why.

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::watch_livestream_response::Event as Content;
use starling_client::pb::swarm::v1::ResetReason;

use crate::harness::Server;
use crate::watch::fixture::{ALL, LivestreamFixture, events, livestream, next, shape};
use crate::watch::fold::RosterFold;
use starling_testkit::Rng;

/// A log this short is soon lapped.
const LOG: u64 = 16;

async fn with_short_log() -> (Server, LivestreamFixture) {
    let server = Server::with(|config| config.store.event_log_revisions = usize::try_from(LOG).unwrap()).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    (server, livestream)
}

/// The reason of the reset that a watch from `position` begins with; `None` when
/// it goes on. Then the roster must follow, exact.
async fn reset_from(livestream: &LivestreamFixture, position: Option<(u64, u64)>) -> Option<ResetReason> {
    let mut stream = livestream.watch_from(&ALL, position).await;
    let message = next(&mut stream).await;
    let Some(Content::Reset(_)) = message.event else {
        let (epoch, revision) = position.unwrap();
        assert_eq!((message.epoch, message.revision), (epoch, revision + 1), "{message:?}");
        return None;
    };
    let mut fold = RosterFold::default();
    assert_eq!(fold.take(message), None);
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    fold.assert_is(&livestream.viewers().await);
    assert_eq!(fold.log, [], "a reset begins with now");
    Some(fold.resets[0])
}

#[tokio::test]
async fn watch_resumes_with_exactly_the_missed_events() {
    let (_server, livestream) = livestream(shape(4, 2)).await;
    let mut fold = RosterFold::default();
    let mut stream = livestream.watch().await;
    while !fold.live {
        fold.take(next(&mut stream).await);
    }
    drop(stream);
    for round in 0..10 {
        livestream.join_all(10..20).await;
        for node in 10..20 - round {
            livestream.leave(node).await;
        }
        let now = livestream.get().await.revision;
        let mut stream = livestream.watch_from(&ALL, fold.position()).await;
        while fold.revision < now {
            // The fold takes no hole, and would note a reset.
            assert_eq!(fold.take(next(&mut stream).await), None);
        }
    }
    assert_eq!(fold.resets, [ResetReason::Fresh]);
    let revisions: Vec<u64> = fold.log.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, (2..=fold.revision).collect::<Vec<_>>(), "neither hole nor duplicate");
}

#[tokio::test]
async fn resume_at_the_head_waits_for_events() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let now = livestream.get().await;
    let mut stream = livestream.watch_from(&ALL, Some((now.epoch, now.revision))).await;
    let joined = livestream.join(10).await;
    let message = next(&mut stream).await;
    assert_eq!((message.revision, events(&message).len()), (joined.revision, 1));
}

#[tokio::test]
async fn watch_without_position_begins_with_reset_fresh() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join_all(10..15).await;
    assert_eq!(reset_from(&livestream, None).await, Some(ResetReason::Fresh));
}

#[tokio::test]
async fn position_before_the_log_is_reset_lapped() {
    let (_server, livestream) = with_short_log().await;
    livestream.join_all(10..50).await;
    let now = livestream.get().await;
    let from = |revision| reset_from(&livestream, Some((now.epoch, revision)));
    assert_eq!(from(0).await, Some(ResetReason::Lapped));
    assert_eq!(from(now.revision - LOG - 1).await, Some(ResetReason::Lapped));
    // The log holds exactly the last 16.
    assert_eq!(from(now.revision - LOG).await, None);
    assert_eq!(from(now.revision - 1).await, None);
}

#[tokio::test]
async fn position_ahead_of_log_is_reset_unknown_position() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join_all(10..15).await;
    let now = livestream.get().await;
    for ahead in [now.revision + 1, u64::MAX] {
        assert_eq!(reset_from(&livestream, Some((now.epoch, ahead))).await, Some(ResetReason::UnknownPosition));
    }
}

#[tokio::test]
async fn position_of_another_epoch_is_reset_epoch_changed() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join_all(10..15).await;
    let old = livestream.get().await;
    assert_eq!(reset_from(&livestream, Some((old.epoch ^ 1, 3))).await, Some(ResetReason::EpochChanged));
    livestream.end().await;
    let new = livestream.create_again(shape(50, 5)).await;
    assert_ne!(new.epoch, old.epoch);
    livestream.join(20).await;
    for revision in [0, 1, old.revision] {
        assert_eq!(reset_from(&livestream, Some((old.epoch, revision))).await, Some(ResetReason::EpochChanged));
    }
}

#[tokio::test]
async fn resume_after_the_end_tells_it_then_goodbye() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join_all(10..12).await;
    let before = livestream.get().await;
    let last = livestream.end().await;
    let mut stream = livestream.watch_from(&ALL, Some((before.epoch, before.revision))).await;
    let mut fold = RosterFold::at(before.epoch, before.revision);
    assert_eq!(fold.take(next(&mut stream).await), None);
    assert_eq!((fold.revision, fold.state), (last, pb::LivestreamState::Ended));
    assert!(fold.take(next(&mut stream).await).is_some(), "then comes the goodbye");
}

/// Cut at random while it changes, by a client that may have read less than was
/// sent.
#[tokio::test]
async fn watch_cut_at_random_gets_the_whole_log() {
    let (server, livestream) = livestream(shape(8, 2)).await;
    let mut random = Rng::new(4);
    let busy = livestream.through(server.client().await);
    let churn = async {
        for _ in 0..15 {
            busy.join_all(10..30).await;
            for node in 10..30 {
                busy.leave(node).await;
            }
        }
        busy.end().await
    };
    let watch = async {
        let (mut fold, mut cuts) = (RosterFold::default(), 0);
        while fold.state != pb::LivestreamState::Ended {
            let mut stream = livestream.watch_from(&ALL, fold.position().filter(|_| fold.live)).await;
            for _ in 0..random.within(1, 12) {
                assert_eq!(fold.take(next(&mut stream).await), None);
                if fold.state == pb::LivestreamState::Ended {
                    break;
                }
            }
            cuts += 1;
        }
        (fold, cuts)
    };
    let (last, (fold, cuts)) = tokio::join!(churn, watch);
    assert_eq!(fold.revision, last);
    assert!(fold.resets.iter().all(|reason| *reason == ResetReason::Fresh), "{:?}", fold.resets);
    assert!(cuts > 30, "cut {cuts} times");
}
