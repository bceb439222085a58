//! A publisher that opens its stream again goes on where it stopped; another one begins anew.
//! Everything here holds for livestreams and for groups.

mod after_end;
mod sessions;
mod stage;

use std::time::Duration;

use starling_client::pb::livestream::v1 as livestream;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::swarm::v1::{GapReason, GoodbyeReason, UpdateDraft};
use starling_client::{PublishOptions, Publisher};

use crate::edge::updates::{self, delta, keyframe, publish_one};
use crate::edge::world::{answered, go_live_wide, join_livestream};
use crate::harness::{Server, retry_delay, soon};
use stage::{Came, KINDS, SOURCE, Stage, came, point, term, term_of_first};

#[tokio::test]
async fn a_publisher_that_opens_again_and_counts_on_loses_nothing() {
    for kind in KINDS {
        let mut stage = Stage::new(kind).await;
        let mut viewer = stage.viewer().await;
        let mut expected = Vec::new();
        let mut first = stage.publisher().await;
        assert!(first.granted(stage.channel).unwrap().keyframe_wanted, "there is nothing to go on with");
        stage.session_id = first.session_id();
        stage.publish(&mut first, 1, "Kdd").await;
        expected.extend((1..=3).map(|sequence| Came::Update(term(&first), sequence)));
        soon(first.close()).await.unwrap();
        for round in 0..20 {
            let mut publisher = stage.publisher().await;
            let granted = publisher.granted(stage.channel).unwrap();
            assert!(!granted.keyframe_wanted, "{kind:?}");
            assert_eq!(granted.last_publisher_sequence, 3 + 2 * round);
            stage.publish(&mut publisher, granted.last_publisher_sequence + 1, "dd").await;
            expected.extend([1, 2].map(|sequence| Came::Update(term(&publisher), sequence)));
            soon(publisher.close()).await.unwrap();
        }
        assert_eq!(came(&mut viewer, expected.len()).await, expected, "{kind:?}");
        // Whoever comes now begins at the keyframe, over all the terms.
        assert_eq!(came(&mut stage.viewer().await, expected.len()).await, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_sent_again_after_a_cut_comes_once() {
    for kind in KINDS {
        let mut stage = Stage::new(kind).await;
        let mut viewer = stage.viewer().await;
        let mut first = stage.publisher().await;
        stage.session_id = first.session_id();
        stage.publish(&mut first, 1, "Kddd").await;
        let mut again = stage.publisher().await;
        stage.publish(&mut again, 3, "dddd").await;
        let expected: Vec<_> = (1..=4)
            .map(|sequence| Came::Update(term(&first), sequence))
            .chain((1..=2).map(|sequence| Came::Update(term(&again), sequence)))
            .collect();
        assert_eq!(came(&mut viewer, 6).await, expected, "{kind:?}");
        drop(first);
    }
}

#[tokio::test]
async fn another_publisher_begins_on_its_keyframe_and_what_came_before_is_a_gap() {
    for kind in KINDS {
        for why in ["a hole", "no numbers", "another session"] {
            let mut stage = Stage::new(kind).await;
            let mut viewer = stage.viewer().await;
            let mut first = stage.publisher().await;
            stage.session_id = first.session_id();
            stage.publish(&mut first, 1, "Kd").await;
            drop(first);
            let next = match why {
                "a hole" => 4,
                "no numbers" => 0,
                _ => {
                    stage.rejoin().await;
                    3
                }
            };
            let mut second = stage.publisher().await;
            let wanted = second.granted(stage.channel).unwrap().keyframe_wanted;
            assert_eq!(wanted, why == "another session", "{kind:?}, {why}");
            if next == 0 {
                // By hand: the client counts by itself.
                let bare = |update: UpdateDraft| UpdateDraft {
                    channel: stage.channel.into(),
                    publisher_sequence: 0,
                    ..update
                };
                for update in [delta(9), delta(9), keyframe(9), delta(9)] {
                    publish_one(&stage.client, stage.swarm, SOURCE, 0, bare(update)).await.unwrap();
                }
            } else {
                stage.publish(&mut second, next, "ddKd").await;
            }
            let [old, new] = [term_of_first(&mut viewer, 2).await, term(&second)];
            let told = came(&mut viewer, 1).await;
            let open = [Came::Gap { after: point(old, 2), before: None, reason: GapReason::TermChanged, count: None }];
            let closed = Came::Gap {
                after: point(old, 2),
                before: point(new, 3),
                reason: GapReason::TermChanged,
                count: Some(2),
            };
            // Who looks only when the keyframe is there is told at once where the loss ends.
            let rest = if told == open {
                came(&mut viewer, 3).await
            } else {
                [told, came(&mut viewer, 2).await].into_iter().flatten().collect()
            };
            assert_eq!(rest, [closed, Came::Update(new, 3), Came::Update(new, 4)], "{kind:?}, {why}");
        }
    }
}

#[tokio::test]
async fn another_broadcaster_begins_on_its_keyframe() {
    let stage = Stage::new(KINDS[0]).await;
    let third = join_livestream(&stage.client, 7, 3).await;
    let mut viewer = stage.viewer().await;
    let mut first = stage.publisher().await;
    stage.publish(&mut first, 1, "Kd").await;
    came(&mut viewer, 2).await;
    let transfer = livestream::TransferBroadcastRequest {
        livestream_id: 7,
        node_id: SOURCE,
        viewer_node_id: 3,
        ..Default::default()
    };
    answered(stage.client.clone().livestreams.transfer_broadcast(transfer).await);
    let publication = PublishOptions { session_id: third, ..PublishOptions::new(stage.swarm, 3, vec![stage.channel]) };
    let mut second = soon(Publisher::open(stage.client.clone(), publication)).await.unwrap();
    assert!(second.granted(stage.channel).unwrap().keyframe_wanted);
    stage.publish(&mut second, 3, "dKd").await;
    let new = term(&second);
    assert_eq!(came(&mut viewer, 2).await, [Came::Update(new, 2), Came::Update(new, 3)]);
}

#[tokio::test]
async fn a_resume_is_not_told_an_open_gap_again() {
    for kind in KINDS {
        let mut stage = Stage::new(kind).await;
        let mut viewer = stage.viewer().await;
        let mut first = stage.publisher().await;
        stage.session_id = first.session_id();
        stage.publish(&mut first, 1, "Kd").await;
        let old = term_of_first(&mut viewer, 2).await;
        let mut second = stage.publisher().await;
        stage.publish(&mut second, 9, "d").await;
        let open = Came::Gap { after: point(old, 2), before: None, reason: GapReason::TermChanged, count: None };
        assert_eq!(came(&mut viewer, 1).await, [open]);
        let from = viewer.progress().resume_point().unwrap();
        assert_eq!(from.open_gaps.len(), 1, "{kind:?}");
        drop(viewer);
        let mut resumed = stage.resumed(from).await.unwrap();
        stage.publish(&mut second, 10, "dK").await;
        let new = term(&second);
        let closed =
            Came::Gap { after: point(old, 2), before: point(new, 3), reason: GapReason::TermChanged, count: Some(2) };
        assert_eq!(came(&mut resumed, 2).await, [closed, Came::Update(new, 3)], "{kind:?}");
    }
}

#[tokio::test]
async fn a_goodbye_for_age_asks_to_come_back_at_once() {
    let server = Server::with(|config| config.streams.max_age = Duration::from_millis(200)).await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    let mut publisher = updates::Publisher::open(&client, 7, SOURCE).await;
    let goodbye = loop {
        if let Some(Event::Goodbye(goodbye)) = publisher.said().await.unwrap() {
            break goodbye;
        }
    };
    assert_eq!(goodbye.reason(), GoodbyeReason::StreamAge);
    assert_eq!(goodbye.retry_after, Some(prost_types::Duration::default()));
    let ended = publisher.said().await.unwrap_err();
    assert_eq!(retry_delay(&ended), Some(Duration::ZERO));
}
