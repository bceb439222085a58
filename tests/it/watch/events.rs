//! WatchLivestream: the order, the completeness and the choice of events.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::livestream_event::Change as Event;
use starling_client::pb::livestream::v1::watch_livestream_response::Event as Content;
use starling_client::pb::swarm::v1::{EndReason, Interest, LeaveReason, ResetReason, Topology, UpdateChannel};
use tonic::Streaming;

use crate::harness::Server;
use crate::watch::fixture::{ALL, LivestreamFixture, ROOT, end, events, livestream, next, shape};
use crate::watch::fold::RosterFold;
use starling_testkit::Rng;

/// Reads until the fold has come to `revision`.
async fn read_to(stream: &mut Streaming<pb::WatchLivestreamResponse>, fold: &mut RosterFold, revision: u64) {
    while !fold.live || fold.revision < revision {
        assert_eq!(fold.take(next(stream).await), None);
    }
}

#[tokio::test]
async fn first_message_is_the_current_state() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.describe(b"a match").await;
    livestream.join_all(10..13).await;
    let mut stream = livestream.watch().await;
    let first = next(&mut stream).await;
    let now = livestream.get().await;
    assert_eq!((first.epoch, first.revision), (now.epoch, now.revision));
    let Some(Content::Reset(reset)) = first.event else { panic!("a watch begins with a reset: {first:?}") };
    assert_eq!(reset.reason(), ResetReason::Fresh);
    assert_eq!(reset.livestream, Some(now));
    let roster = next(&mut stream).await;
    let Some(Content::Roster(page)) = roster.event else { panic!("then comes the roster: {roster:?}") };
    assert_eq!(page.viewers, livestream.viewers().await);
    let complete = next(&mut stream).await;
    assert!(matches!(complete.event, Some(Content::SnapshotComplete(_))), "{complete:?}");
}

#[tokio::test]
async fn one_message_holds_all_events_of_a_revision() {
    let (_server, livestream) = livestream(shape(4, 2)).await;
    livestream.join_all(10..14).await;
    let mut stream = livestream.watch().await;
    let mut fold = RosterFold::default();
    read_to(&mut stream, &mut fold, livestream.get().await.revision).await;

    // A session is replaced: the old one ends and the new one begins.
    let again = livestream.join(11).await;
    let message = next(&mut stream).await;
    let [Event::ViewerLeft(left), Event::ViewerJoined(joined)] = &events(&message)[..] else { panic!("{message:?}") };
    assert_eq!((left.node_id, left.reason()), (11, LeaveReason::Replaced));
    let viewer = joined.viewer.as_ref().unwrap();
    assert_eq!((viewer.node_id, viewer.session_id, message.revision), (11, again.session_id, again.revision));

    // A join makes it a tree.
    let fifth = livestream.join(14).await;
    let message = next(&mut stream).await;
    let happened = events(&message);
    assert!(matches!(happened[..], [Event::ViewerJoined(_), Event::TopologySwitched(_)]), "{happened:?}");
    assert_eq!(message.revision, fifth.revision);

    // The broadcast passes on, and everyone hangs on another node.
    livestream.join(ROOT).await;
    next(&mut stream).await;
    livestream.mute(12).await;
    next(&mut stream).await;
    let revision = livestream.transfer(ROOT, 12).await;
    let message = next(&mut stream).await;
    let happened = events(&message);
    assert_eq!(message.revision, revision);
    assert!(happened.iter().any(|event| matches!(event, Event::MuteChanged(_))), "{happened:?}");
    assert!(happened.iter().any(|event| matches!(event, Event::BroadcastTransferred(_))), "{happened:?}");
    assert!(happened.iter().any(|event| matches!(event, Event::PlacementChanged(_))), "{happened:?}");
}

/// Every kind of change, once, in a star of viewers.
async fn all_kinds_of_changes(livestream: &LivestreamFixture) -> u64 {
    livestream.start().await;
    livestream.join(ROOT).await;
    livestream.join_all(10..16).await;
    livestream.want(10, UpdateChannel::Visual, Interest::Critical).await;
    livestream.update_viewer(10, b"front row".to_vec()).await;
    livestream.mute(11).await;
    livestream.promote(12).await;
    livestream.ban(99).await;
    livestream.describe(b"second half").await;
    livestream.leave(13).await;
    livestream.transfer(ROOT, 12).await
}

#[tokio::test]
async fn default_kinds_exclude_interest_and_placement() {
    use pb::LivestreamEventKind as Kind;
    let kind = |event: &Event| match event {
        Event::ViewerJoined(_) | Event::ViewerLeft(_) | Event::ViewerUpdated(_) => Kind::Membership,
        Event::StateChanged(_) | Event::LivestreamUpdated(_) => Kind::Lifecycle,
        Event::BroadcasterJoined(_) | Event::BroadcasterLost(_) | Event::BroadcastTransferred(_) => Kind::Broadcaster,
        Event::ModeratorChanged(_) | Event::MuteChanged(_) | Event::BanChanged(_) => Kind::Moderation,
        Event::TopologySwitched(_) => Kind::Topology,
        Event::AuthorityGranted(_) => Kind::Authority,
        Event::InterestChanged(_) => Kind::Interest,
        Event::PlacementChanged(_) => Kind::Placement,
    };
    let (_server, livestream) = livestream(shape(4, 2)).await;
    let epoch = livestream.get().await.epoch;
    let last = all_kinds_of_changes(&livestream).await;

    // From the beginning, as the log has it: each watch ends with the last revision
    // that has something for it.
    let log = |kinds: Vec<Kind>| {
        let livestream = livestream.clone();
        async move {
            let mut told: Vec<(u64, Vec<Event>)> = Vec::new();
            let mut stream = livestream.watch_from(&kinds, Some((epoch, 0))).await;
            while told.last().is_none_or(|(revision, _)| *revision < last) {
                let message = next(&mut stream).await;
                told.push((message.revision, events(&message)));
            }
            told
        }
    };
    let all = log(ALL.to_vec()).await;
    assert_eq!(all.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    let only = |kinds: &[Kind]| -> Vec<(u64, Vec<Event>)> {
        let wanted = |events: &[Event]| -> Vec<Event> {
            events.iter().filter(|event| kinds.contains(&kind(event))).cloned().collect()
        };
        let told = all.iter().map(|(revision, events)| (*revision, wanted(events)));
        told.filter(|(_, events)| !events.is_empty()).collect()
    };
    let default: Vec<Kind> = ALL.into_iter().filter(|kind| !matches!(kind, Kind::Interest | Kind::Placement)).collect();
    assert_ne!(only(&default), all);
    assert_eq!(log(vec![]).await, only(&default));
    // The last revision is of kind BROADCASTER and PLACEMENT.
    for kinds in [vec![Kind::Broadcaster], vec![Kind::Placement], vec![Kind::Interest, Kind::Broadcaster]] {
        assert_eq!(log(kinds.clone()).await, only(&kinds));
    }
}

#[tokio::test]
async fn revisions_are_consecutive_with_all_kinds() {
    let (_server, livestream) = livestream(shape(4, 2)).await;
    let mut stream = livestream.watch().await;
    let mut fold = RosterFold::default();
    let last = all_kinds_of_changes(&livestream).await;
    // The fold checks each step.
    read_to(&mut stream, &mut fold, last).await;
    assert_eq!(fold.revision, last);
    assert_eq!(fold.broadcaster, 12);
}

#[tokio::test]
async fn a_heartbeat_never_overtakes_an_event() {
    let server = Server::with(|config| config.streams.heartbeat_interval = Duration::from_millis(1)).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(10, 2)).await;
    let mut fold = RosterFold::default();
    let mut stream = livestream.watch().await;
    let busy = async {
        for round in 0..20 {
            livestream.join_all(10..25).await;
            for node in 10..25 {
                livestream.leave(node).await;
            }
            livestream.describe(&[round]).await;
        }
        livestream.get().await.revision
    };
    tokio::pin!(busy);
    let mut heartbeats = 0;
    let last = loop {
        tokio::select! {
            last = &mut busy => break last,
            message = next(&mut stream) => {
                heartbeats += usize::from(matches!(message.event, Some(Content::Heartbeat(_))));
                // The fold compares: a heartbeat names the last revision told, no other.
                assert_eq!(fold.take(message), None);
            }
        }
    };
    read_to(&mut stream, &mut fold, last).await;
    // Now that nothing happens they come alone, and say that nothing is missing.
    while heartbeats < 20 {
        let message = next(&mut stream).await;
        assert_eq!(message.revision, last);
        heartbeats += usize::from(matches!(message.event, Some(Content::Heartbeat(_))));
        assert_eq!(fold.take(message), None);
    }
}

#[tokio::test]
async fn heartbeat_advances_past_unwanted_events() {
    let server = Server::with(|config| config.streams.heartbeat_interval = Duration::from_millis(1)).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let epoch = livestream.get().await.epoch;
    livestream.join_all(10..13).await;
    let last = livestream.get().await.revision;
    let mut stream = livestream.watch_from(&[pb::LivestreamEventKind::Moderation], Some((epoch, 0))).await;
    let message = next(&mut stream).await;
    assert!(matches!(message.event, Some(Content::Heartbeat(_))), "{message:?}");
    assert_eq!(message.revision, last, "the stream is current up to here");
}

/// Joins, rejoins, leaves, removals, timeouts and the end, at random.
#[tokio::test]
async fn each_join_has_exactly_one_leave() {
    let (_server, livestream) = livestream(shape(8, 2)).await;
    let mut stream = livestream.watch().await;
    let mut random = Rng::new(2);
    let mut joined: BTreeMap<u64, u64> = BTreeMap::new();
    let mut inside: Vec<u64> = Vec::new();
    // One that only its lease takes out.
    joined.insert(livestream.join_briefly(99).await.session_id, 99);
    for _ in 0..200 {
        let node = random.within(10, 30);
        let here = inside.contains(&node);
        match random.below(4) {
            0 if here => {
                livestream.leave(node).await;
                inside.retain(|other| *other != node);
            }
            1 if here => {
                livestream.remove(node).await;
                inside.retain(|other| *other != node);
            }
            _ => {
                let session = livestream.join(node).await.session_id;
                assert_eq!(joined.insert(session, node), None, "sessions are not used twice");
                inside.retain(|other| *other != node);
                inside.push(node);
            }
        }
    }
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    let mut left: BTreeMap<u64, LeaveReason> = BTreeMap::new();
    let mut ended = false;
    let mut ask = true;
    while !ended {
        for event in events(&next(&mut stream).await) {
            match event {
                Event::ViewerJoined(event) => {
                    let viewer = event.viewer.unwrap();
                    assert_eq!(told.insert(viewer.session_id, viewer.node_id), None, "a session begins once");
                }
                Event::ViewerLeft(event) => {
                    assert_eq!(told.get(&event.session_id), Some(&event.node_id), "what ends has begun");
                    assert_eq!(left.insert(event.session_id, event.reason()), None, "a session ends once");
                }
                Event::StateChanged(change) => ended = change.state() == pb::LivestreamState::Ended,
                _ => {}
            }
        }
        // The end waits for the lease.
        if ask && left.values().any(|reason| *reason == LeaveReason::Timeout) {
            ask = false;
            livestream.end().await;
        }
    }
    assert_eq!(told, joined, "each join is told");
    // The end of the livestream is told once, for all who were in.
    let rest: Vec<u64> =
        told.iter().filter(|(session, _)| !left.contains_key(session)).map(|(_, node)| *node).collect();
    inside.sort_unstable();
    let mut rest_nodes = rest.clone();
    rest_nodes.sort_unstable();
    assert_eq!(rest_nodes, inside);
    let stats = livestream.stats().await;
    let count = |wanted: LeaveReason| {
        stats.leaves.iter().find(|leaves| leaves.reason() == wanted).map_or(0, |leaves| leaves.count)
    };
    for reason in [LeaveReason::Left, LeaveReason::Replaced, LeaveReason::Removed, LeaveReason::Timeout] {
        let told = left.values().filter(|told| **told == reason).count() as u64;
        assert_eq!(count(reason), told, "{reason:?}");
        assert_ne!(told, 0, "{reason:?} happened");
    }
    assert_eq!(count(LeaveReason::Ended), rest.len() as u64);
    assert_eq!(
        (stats.joins, stats.leaves.iter().map(|leaves| leaves.count).sum()),
        (joined.len() as u64, joined.len() as u64)
    );
    next(&mut stream).await;
    assert!(end(&mut stream).await.is_ok());
}

#[tokio::test]
async fn the_broadcaster_comes_is_lost_and_comes_back() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let mut stream = livestream.watch_from(&[], Some((livestream.get().await.epoch, 1))).await;
    let first = livestream.join(ROOT).await.session_id;
    livestream.leave(ROOT).await;
    let second = livestream.join(ROOT).await.session_id;
    let mut told = Vec::new();
    while told.len() < 3 {
        told.extend(events(&next(&mut stream).await));
    }
    let [Event::BroadcasterJoined(one), Event::BroadcasterLost(lost), Event::BroadcasterJoined(two)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((one.session_id, lost.session_id, two.session_id), (first, first, second));
    assert_eq!(lost.reason(), LeaveReason::Left);
}

#[tokio::test]
async fn absent_broadcaster_ends_the_livestream() {
    let away = prost_types::Duration { seconds: 0, nanos: 50_000_000 };
    let config = pb::LivestreamConfig { broadcaster_timeout: Some(away), ..shape(50, 5) };
    let (_server, livestream) = livestream(config).await;
    let mut stream = livestream.watch_from(&[pb::LivestreamEventKind::Lifecycle], None).await;
    let changed = loop {
        if let [Event::StateChanged(changed)] = &events(&next(&mut stream).await)[..] {
            break *changed;
        }
    };
    assert_eq!((changed.state(), changed.end_reason()), (pb::LivestreamState::Ended, EndReason::BroadcasterTimeout));
    next(&mut stream).await;
    assert!(end(&mut stream).await.is_ok());
}

#[tokio::test]
async fn topology_switched_stands_for_all_placements() {
    let (_server, livestream) = livestream(shape(20, 3)).await;
    livestream.join_all(10..30).await;
    let mut stream = livestream.watch().await;
    let mut fold = RosterFold::default();
    let star = livestream.viewers().await;
    read_to(&mut stream, &mut fold, livestream.get().await.revision).await;
    fold.assert_is(&star);

    let switch = livestream.join(30).await.revision;
    let message = next(&mut stream).await;
    let happened = events(&message);
    let [Event::ViewerJoined(_), Event::TopologySwitched(switched)] = &happened[..] else { panic!("{happened:?}") };
    assert_eq!((message.revision, switched.topology()), (switch, Topology::Tree));
    assert_eq!(fold.take(message), None);
    let tree = livestream.viewers().await;
    let moved = star.iter().zip(&tree).filter(|(before, after)| before.placement != after.placement).count();
    assert!(moved > 10, "the switch moved {moved} viewers without a word about each");
    fold.place(&tree);
    fold.assert_is(&tree);

    // 5 x 16 <= 4 x 20: a star again, which needs no listing.
    let mut back = 0;
    for node in 10..15 {
        back = livestream.leave(node).await;
    }
    read_to(&mut stream, &mut fold, back).await;
    let (_, happened) = fold.log.last().unwrap();
    let [Event::ViewerLeft(_), Event::TopologySwitched(switched)] = &happened[..] else { panic!("{happened:?}") };
    assert_eq!(switched.topology(), Topology::Star);
    fold.assert_is(&livestream.viewers().await);
}

#[tokio::test]
async fn events_fold_to_the_list_of_viewers() {
    let (_server, livestream) = livestream(shape(8, 3)).await;
    livestream.join(ROOT).await;
    livestream.join_all(10..40).await;
    let mut stream = livestream.watch().await;
    let mut fold = RosterFold::default();
    let mut random = Rng::new(3);
    let mut broadcaster = ROOT;
    for step in 0..400 {
        // Never few enough for a star.
        let node = random.within(10, 60);
        let inside = fold.viewers.contains_key(&node);
        let revision = match random.below(12) {
            0 if inside && step % 10 == 0 => {
                let from = std::mem::replace(&mut broadcaster, node);
                livestream.transfer(from, node).await
            }
            1 if inside => {
                livestream.want(node, UpdateChannel::Audio, random.pick(&[Interest::Low, Interest::Critical])).await
            }
            2 if inside => livestream.update_viewer(node, random.bits().to_be_bytes().to_vec()).await,
            3..=5 if inside && fold.viewers.len() > 15 => livestream.leave(node).await,
            6 | 7 if inside => {
                let can_relay = Some(random.below(2) == 0);
                livestream
                    .join_as(pb::JoinLivestreamRequest { can_relay, ..livestream.join_request(node) })
                    .await
                    .revision
            }
            _ if !inside && node != broadcaster => {
                let can_relay = Some(random.below(3) > 0);
                livestream
                    .join_as(pb::JoinLivestreamRequest { can_relay, ..livestream.join_request(node) })
                    .await
                    .revision
            }
            _ => continue,
        };
        read_to(&mut stream, &mut fold, revision).await;
        if step % 10 == 0 {
            fold.assert_is(&livestream.viewers().await);
        }
    }
    fold.assert_is(&livestream.viewers().await);
    let placements = fold.log.iter().flat_map(|(_, events)| events).filter(|e| matches!(e, Event::PlacementChanged(_)));
    assert!(placements.count() > 200);
}
