//! A publisher that opens its stream again goes on where it stopped; another one begins anew.
//! Everything here holds for livestreams and for groups.

mod after_end;
mod fixture;
mod sessions;

use std::time::Duration;

use starling_client::pb::livestream::v1 as livestream;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::swarm::v1::{GapReason, GoodbyeReason, UpdateDraft};
use starling_client::{PublishOptions, Publisher};

use crate::edge::updates::{self, delta, keyframe, publish_one};
use crate::edge::world::{answered, go_live_wide, join_livestream};
use crate::harness::{Server, retry_delay, soon};
use fixture::{KINDS, Received, ResumeFixture, SOURCE, point, received, term, term_of_first};

#[tokio::test]
async fn reopened_publisher_that_counts_on_loses_nothing() {
    for kind in KINDS {
        let mut fixture = ResumeFixture::new(kind).await;
        let mut viewer = fixture.viewer().await;
        let mut expected = Vec::new();
        let mut first = fixture.publisher().await;
        assert!(first.granted(fixture.channel).unwrap().keyframe_wanted, "there is nothing to go on with");
        fixture.session_id = first.session_id();
        fixture.publish(&mut first, 1, "Kdd").await;
        expected.extend((1..=3).map(|sequence| Received::Update(term(&first), sequence)));
        soon(first.close()).await.unwrap();
        for round in 0..20 {
            let mut publisher = fixture.publisher().await;
            let granted = publisher.granted(fixture.channel).unwrap();
            assert!(!granted.keyframe_wanted, "{kind:?}");
            assert_eq!(granted.last_publisher_sequence, 3 + 2 * round);
            fixture.publish(&mut publisher, granted.last_publisher_sequence + 1, "dd").await;
            expected.extend([1, 2].map(|sequence| Received::Update(term(&publisher), sequence)));
            soon(publisher.close()).await.unwrap();
        }
        assert_eq!(received(&mut viewer, expected.len()).await, expected, "{kind:?}");
        // Whoever comes now begins at the keyframe, over all the terms.
        assert_eq!(received(&mut fixture.viewer().await, expected.len()).await, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn updates_resent_after_a_cut_come_once() {
    for kind in KINDS {
        let mut fixture = ResumeFixture::new(kind).await;
        let mut viewer = fixture.viewer().await;
        let mut first = fixture.publisher().await;
        fixture.session_id = first.session_id();
        fixture.publish(&mut first, 1, "Kddd").await;
        let mut again = fixture.publisher().await;
        fixture.publish(&mut again, 3, "dddd").await;
        let expected: Vec<_> = (1..=4)
            .map(|sequence| Received::Update(term(&first), sequence))
            .chain((1..=2).map(|sequence| Received::Update(term(&again), sequence)))
            .collect();
        assert_eq!(received(&mut viewer, 6).await, expected, "{kind:?}");
        drop(first);
    }
}

#[tokio::test]
async fn new_publisher_starts_on_keyframe_after_a_gap() {
    for kind in KINDS {
        for why in ["a hole", "no numbers", "another session"] {
            let mut fixture = ResumeFixture::new(kind).await;
            let mut viewer = fixture.viewer().await;
            let mut first = fixture.publisher().await;
            fixture.session_id = first.session_id();
            fixture.publish(&mut first, 1, "Kd").await;
            drop(first);
            let next = match why {
                "a hole" => 4,
                "no numbers" => 0,
                _ => {
                    fixture.rejoin().await;
                    3
                }
            };
            let mut second = fixture.publisher().await;
            let wanted = second.granted(fixture.channel).unwrap().keyframe_wanted;
            assert_eq!(wanted, why == "another session", "{kind:?}, {why}");
            if next == 0 {
                // By hand: the client counts by itself.
                let bare = |update: UpdateDraft| UpdateDraft {
                    channel: fixture.channel.into(),
                    publisher_sequence: 0,
                    ..update
                };
                for update in [delta(9), delta(9), keyframe(9), delta(9)] {
                    publish_one(&fixture.client, fixture.swarm, SOURCE, 0, bare(update)).await.unwrap();
                }
            } else {
                fixture.publish(&mut second, next, "ddKd").await;
            }
            let [old, new] = [term_of_first(&mut viewer, 2).await, term(&second)];
            let told = received(&mut viewer, 1).await;
            let open =
                [Received::Gap { after: point(old, 2), before: None, reason: GapReason::TermChanged, count: None }];
            let closed = Received::Gap {
                after: point(old, 2),
                before: point(new, 3),
                reason: GapReason::TermChanged,
                count: Some(2),
            };
            // Who looks only when the keyframe is there is told at once where the loss ends.
            let rest = if told == open {
                received(&mut viewer, 3).await
            } else {
                [told, received(&mut viewer, 2).await].into_iter().flatten().collect()
            };
            assert_eq!(rest, [closed, Received::Update(new, 3), Received::Update(new, 4)], "{kind:?}, {why}");
        }
    }
}

#[tokio::test]
async fn another_broadcaster_begins_on_its_keyframe() {
    let fixture = ResumeFixture::new(KINDS[0]).await;
    let third = join_livestream(&fixture.client, 7, 3).await;
    let mut viewer = fixture.viewer().await;
    let mut first = fixture.publisher().await;
    fixture.publish(&mut first, 1, "Kd").await;
    received(&mut viewer, 2).await;
    let transfer = livestream::TransferBroadcastRequest {
        livestream_id: 7,
        node_id: SOURCE,
        viewer_node_id: 3,
        ..Default::default()
    };
    answered(fixture.client.clone().livestreams.transfer_broadcast(transfer).await);
    let publication =
        PublishOptions { session_id: third, ..PublishOptions::new(fixture.swarm, 3, vec![fixture.channel]) };
    let mut second = soon(Publisher::open(fixture.client.clone(), publication)).await.unwrap();
    assert!(second.granted(fixture.channel).unwrap().keyframe_wanted);
    fixture.publish(&mut second, 3, "dKd").await;
    let new = term(&second);
    assert_eq!(received(&mut viewer, 2).await, [Received::Update(new, 2), Received::Update(new, 3)]);
}

#[tokio::test]
async fn resume_does_not_repeat_an_open_gap() {
    for kind in KINDS {
        let mut fixture = ResumeFixture::new(kind).await;
        let mut viewer = fixture.viewer().await;
        let mut first = fixture.publisher().await;
        fixture.session_id = first.session_id();
        fixture.publish(&mut first, 1, "Kd").await;
        let old = term_of_first(&mut viewer, 2).await;
        let mut second = fixture.publisher().await;
        fixture.publish(&mut second, 9, "d").await;
        let open = Received::Gap { after: point(old, 2), before: None, reason: GapReason::TermChanged, count: None };
        assert_eq!(received(&mut viewer, 1).await, [open]);
        let from = viewer.progress().resume_point().unwrap();
        assert_eq!(from.open_gaps.len(), 1, "{kind:?}");
        drop(viewer);
        let mut resumed = fixture.resumed(from).await.unwrap();
        fixture.publish(&mut second, 10, "dK").await;
        let new = term(&second);
        let closed = Received::Gap {
            after: point(old, 2),
            before: point(new, 3),
            reason: GapReason::TermChanged,
            count: Some(2),
        };
        assert_eq!(received(&mut resumed, 2).await, [closed, Received::Update(new, 3)], "{kind:?}");
    }
}

#[tokio::test]
async fn stream_age_goodbye_has_zero_retry_delay() {
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
