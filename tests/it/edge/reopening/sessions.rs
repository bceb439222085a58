//! Numbers belong to a session, and an accepted update keeps it alive.

use std::time::Duration;

use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1 as livestream;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use starling_client::{Client, Join, PublishOptions, Publisher, SwarmRef};
use tokio::time::{MissedTickBehavior, interval};

use super::fixture::{KINDS, Received, ResumeFixture, SOURCE, VIEWER, received, settled, term};
use crate::edge::scripted::Wire;
use crate::edge::updates::{delta, keyframe, publish_one};
use crate::edge::world::{answered, go_live_wide, join_livestream, make_group};
use crate::harness::{Server, soon};

#[tokio::test]
async fn new_session_gets_number_accepted_by_previous_session() {
    for kind in KINDS {
        let mut fixture = ResumeFixture::new(kind).await;
        let mut viewer = fixture.viewer().await;
        let mut first = fixture.publisher().await;
        fixture.session_id = first.session_id();
        fixture.publish(&mut first, 1, "Kdd").await;
        let old = fixture.session_id;
        fixture.rejoin().await;
        fixture.share_screen().await;
        let mut second = fixture.publisher().await;
        let granted = second.granted(fixture.channel).unwrap();
        assert_eq!((granted.last_publisher_sequence, granted.previous_session_id), (0, old), "{kind:?}");
        assert_eq!(granted.previous_publisher_sequence, 3);
        // A session that begins at 1 is not taken for a repeat.
        fixture.publish(&mut second, 1, "Kd").await;
        assert_eq!(second.accepted(), 2);
        let received = received(&mut viewer, 5).await;
        assert_eq!(received[3..], [Received::Update(term(&second), 1), Received::Update(term(&second), 2)], "{kind:?}");
    }
}

#[tokio::test]
async fn chat_of_a_new_session_is_not_dropped() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    let chat = |number| UpdateDraft { channel: UpdateChannel::Chat.into(), ..delta(number) };
    let say = |number| publish_one(&client, SwarmRef::Livestream(7), VIEWER, 0, chat(number));
    join_livestream(&client, 7, VIEWER).await;
    for number in 1..=3 {
        assert!(!say(number).await.unwrap().duplicate);
    }
    assert!(say(3).await.unwrap().duplicate);
    let session_id = join_livestream(&client, 7, VIEWER).await;
    let publication = PublishOptions {
        session_id,
        ..PublishOptions::new(SwarmRef::Livestream(7), VIEWER, vec![UpdateChannel::Chat])
    };
    let publisher = soon(Publisher::open(client.clone(), publication)).await.unwrap();
    let granted = publisher.granted(UpdateChannel::Chat).unwrap();
    assert_eq!((granted.last_publisher_sequence, granted.previous_publisher_sequence), (0, 3));
    assert!(!say(1).await.unwrap().duplicate);
}

/// A session that a publisher loses by its lease is followed by another, and nothing comes twice.
#[tokio::test]
async fn publisher_with_expired_lease_sends_nothing_twice() {
    for kind in [KINDS[0], KINDS[1]] {
        let mut fixture = ResumeFixture::new(kind).await;
        let lease_ttl = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let join = match fixture.swarm {
            SwarmRef::Livestream(livestream_id) => Join::Livestream(livestream::JoinLivestreamRequest {
                livestream_id,
                node_id: SOURCE,
                lease_ttl,
                ..Default::default()
            }),
            SwarmRef::Group(group_id) => {
                Join::Group(group::JoinGroupRequest { group_id, node_id: SOURCE, lease_ttl, ..Default::default() })
            }
        };
        fixture.session_id = fixture.client.clone().join(join.clone()).await.unwrap();
        let mut viewer = fixture.viewer().await;
        let wire = Wire::to(fixture.server.address()).await;
        let publication = PublishOptions { join: Some(join), ..fixture.publication() };
        let mut publisher =
            soon(Publisher::open(Client::connect(&wire.url()).await.unwrap(), publication)).await.unwrap();
        fixture.publish(&mut publisher, 1, "Kdd").await;
        let first = term(&publisher);
        wire.stop().await;
        // Two that the server may or may not get, and the lease runs out.
        for number in 4..=5 {
            publisher.send(UpdateDraft { channel: fixture.channel.into(), ..keyframe(number) }).unwrap();
        }
        let old = fixture.session_id;
        gone(&fixture, old).await;
        wire.go_on();
        settled(&mut publisher).await;
        assert_ne!(publisher.session_id(), old);
        assert_eq!(publisher.accepted(), 5, "{kind:?}");
        let second = term(&publisher);
        let expected: Vec<_> = (1..=3)
            .map(|sequence| Received::Update(first, sequence))
            .chain((1..=2).map(|sequence| Received::Update(second, sequence)))
            .collect();
        assert_eq!(received(&mut viewer, 5).await, expected, "{kind:?}");
    }
}

/// Waits until a session of the source is over.
async fn gone(fixture: &ResumeFixture, session_id: u64) {
    let mut client = fixture.client.clone();
    let mut ticks = interval(Duration::from_millis(50));
    soon(async {
        while client.renew_lease(fixture.swarm, VIEWER, fixture.viewer_session).await.is_ok() {
            let present = match fixture.swarm {
                SwarmRef::Livestream(livestream_id) => {
                    let get = livestream::GetLivestreamRequest { livestream_id, ..Default::default() };
                    answered(client.livestreams.get_livestream(get).await).livestream.unwrap().broadcaster_present
                }
                SwarmRef::Group(group_id) => {
                    let list = group::ListParticipantsRequest { group_id, ..Default::default() };
                    let listed = answered(client.groups.list_participants(list).await).participants;
                    listed.iter().any(|participant| participant.session_id == session_id)
                }
            };
            if !present {
                return;
            }
            ticks.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn accepted_update_renews_the_lease() {
    for swarm in [SwarmRef::Livestream(7), SwarmRef::Group(7)] {
        let server = Server::start().await;
        let client = server.client().await;
        let lease_ttl = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let join = |node_id| match swarm {
            SwarmRef::Livestream(livestream_id) => Join::Livestream(livestream::JoinLivestreamRequest {
                livestream_id,
                node_id,
                lease_ttl,
                ..Default::default()
            }),
            SwarmRef::Group(group_id) => {
                Join::Group(group::JoinGroupRequest { group_id, node_id, lease_ttl, ..Default::default() })
            }
        };
        match swarm {
            SwarmRef::Livestream(_) => go_live_wide(&client, 7).await,
            SwarmRef::Group(_) => make_group(&client, 7, 16).await,
        }
        let [source, chatter, silent] = [SOURCE, VIEWER, 3];
        let mut sessions = Vec::new();
        for node in [source, chatter, silent] {
            sessions.push(client.clone().join(join(node)).await.unwrap());
        }
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut first_term, mut last_round) = (None, None);
        // As long as it takes for the silent one to go, and as long again.
        for number in 1.. {
            ticks.tick().await;
            let draft = if number == 1 { keyframe(number) } else { delta(number) };
            let receipt = publish_one(&client, swarm, source, 0, draft).await.unwrap();
            let term = receipt.position.unwrap().term;
            assert_eq!(*first_term.get_or_insert(term), term, "neither the lease nor the term ended");
            if number % 3 == 0 {
                let chat = UpdateDraft { channel: UpdateChannel::Chat.into(), ..delta(number) };
                publish_one(&client, swarm, chatter, 0, chat).await.unwrap();
            }
            if last_round.is_none() && !is_in(&client, swarm, silent).await {
                last_round = Some(2 * number);
            }
            if last_round == Some(number) {
                break;
            }
        }
        for (node, session) in [source, chatter].into_iter().zip(sessions) {
            client.clone().renew_lease(swarm, node, session).await.unwrap();
        }
    }
}

async fn is_in(client: &Client, swarm: SwarmRef, node: u64) -> bool {
    let mut client = client.clone();
    match swarm {
        SwarmRef::Livestream(livestream_id) => {
            let list = livestream::ListViewersRequest { livestream_id, ..Default::default() };
            answered(client.livestreams.list_viewers(list).await).viewers.iter().any(|viewer| viewer.node_id == node)
        }
        SwarmRef::Group(group_id) => {
            let list = group::ListParticipantsRequest { group_id, ..Default::default() };
            let found = answered(client.groups.list_participants(list).await).participants;
            found.iter().any(|participant| participant.node_id == node)
        }
    }
}
