//! What changes of a swarm and its members without a rejoin, and what does not.

use starling_client::pb::swarm::v1::{self as shared, UpdateDraft, delivery::Item};
use starling_client::pb::{group::v1 as group, livestream::v1 as pb};
use tonic::Code::{AlreadyExists, FailedPrecondition, ResourceExhausted};

use crate::edge::updates::{Publisher, Subscriber};
use crate::edge::world::{
    answered, join_group, join_livestream, livestream, lurk, make_group, make_livestream, on_air,
};
use crate::harness::{Fault, Server, fault, soon};

fn update(config: pb::LivestreamConfig) -> pb::UpdateLivestreamRequest {
    pb::UpdateLivestreamRequest { livestream_id: 7, node_id: 1, config: Some(config), ..Default::default() }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[tokio::test]
async fn viewer_changes_endpoint_and_relaying_without_rejoin() {
    let server = Server::start().await;
    let client = server.client().await;
    let config = pb::LivestreamConfig { star_to_tree_threshold: Some(2), tree_fanout: Some(2), ..Default::default() };
    make_livestream(&client, 7, config).await;
    let mut sessions = Vec::new();
    for node in 10..15 {
        sessions.push(join_livestream(&client, 7, node).await);
    }
    let targets = async |of_node_id: u64| {
        let request = pb::GetTargetsRequest { livestream_id: 7, of_node_id, ..Default::default() };
        answered(client.clone().livestreams.get_targets(request).await).targets.unwrap()
    };
    let change = async |endpoint: Option<&'static [u8]>, can_relay: Option<bool>| {
        let request = pb::UpdateViewerRequest {
            livestream_id: 7,
            node_id: 10,
            endpoint: endpoint.map(Into::into),
            can_relay,
            ..Default::default()
        };
        answered(client.clone().livestreams.update_viewer(request).await)
    };
    let child = targets(12).await;
    assert_eq!(child.parent.as_ref().map(|peer| (peer.node_id, peer.session_id)), Some((10, sessions[0])));
    let watch = pb::WatchTargetsRequest { livestream_id: 7, of_node_id: 12, ..Default::default() };
    let mut watch = answered(client.clone().livestreams.watch_targets(watch).await);
    soon(watch.message()).await.unwrap().unwrap();
    let changed = change(Some(b"192.0.2.1:1"), None).await;
    assert_eq!(changed.viewer.unwrap().session_id, sessions[0], "its session goes on");
    // Those that it feeds can dial it, and those that feed it.
    let told = soon(watch.message()).await.unwrap().unwrap();
    let Some(pb::watch_targets_response::Event::Delta(delta)) = told.event else { panic!("{told:?}") };
    assert_eq!((told.revision, &delta.parent.unwrap().endpoint[..]), (changed.revision, &b"192.0.2.1:1"[..]));
    let root = targets(0).await;
    assert!(root.targets.iter().any(|target| target.node_id == 10 && target.endpoint == b"192.0.2.1:1"[..]));
    // It relays no more: its children have another parent.
    let placement = change(None, Some(false)).await.viewer.unwrap().placement.unwrap();
    assert!(!placement.can_relay);
    assert!(targets(10).await.targets.is_empty());
    assert_ne!(targets(12).await.parent.map(|peer| peer.node_id), Some(10));
}

#[tokio::test]
async fn returning_broadcaster_is_reported_to_its_targets() {
    let (_server, client) = on_air().await;
    join_livestream(&client, 7, 2).await;
    let watch = pb::WatchTargetsRequest { livestream_id: 7, of_node_id: 2, ..Default::default() };
    let mut watch = answered(client.clone().livestreams.watch_targets(watch).await);
    let first = soon(watch.message()).await.unwrap().unwrap();
    let Some(pb::watch_targets_response::Event::Snapshot(list)) = first.event else { panic!("{first:?}") };
    let parent = list.parent.unwrap();
    assert_eq!((parent.node_id, parent.session_id), (1, 0), "it has no session");
    let join = pb::JoinLivestreamRequest {
        livestream_id: 7,
        node_id: 1,
        endpoint: Some(b"192.0.2.1:1".as_slice().into()),
        ..Default::default()
    };
    let session = answered(client.clone().livestreams.join_livestream(join).await).session_id;
    let told = soon(watch.message()).await.unwrap().unwrap();
    let Some(pb::watch_targets_response::Event::Delta(delta)) = told.event else { panic!("{told:?}") };
    let parent = delta.parent.unwrap();
    assert_eq!((parent.session_id, &parent.endpoint[..]), (session, &b"192.0.2.1:1"[..]));
}

#[tokio::test]
async fn invalid_updates_are_refused() {
    let (_server, client) = on_air().await;
    lurk(&client, 7, 2).await;
    join_livestream(&client, 7, 1).await;
    let relay =
        |node_id| pb::UpdateViewerRequest { livestream_id: 7, node_id, can_relay: Some(true), ..Default::default() };
    let mut livestreams = client.clone().livestreams;
    let refused = Fault::new(FailedPrecondition, "LURKER_CANNOT_RELAY");
    assert_eq!(fault(livestreams.update_viewer(relay(2)).await), refused);
    let refused = Fault::new(FailedPrecondition, "BROADCASTER_CANNOT_VIEW");
    assert_eq!(fault(livestreams.update_viewer(relay(1)).await), refused);
    let (threshold, fanout) = (
        pb::LivestreamConfig { star_to_tree_threshold: Some(9), ..Default::default() },
        pb::LivestreamConfig { tree_fanout: Some(9), ..Default::default() },
    );
    for (config, field) in [(threshold, "config.star_to_tree_threshold"), (fanout, "config.tree_fanout")] {
        assert_eq!(fault(livestreams.update_livestream(update(config)).await), Fault::field(field));
    }
    let low = pb::LivestreamConfig { subscriber_bytes_per_second: Some(9), ..Default::default() };
    let refused = Fault::field("config.subscriber_bytes_per_second");
    assert_eq!(fault(livestreams.update_livestream(update(low)).await), refused);
    // Saying nothing is a mistake, too.
    let nothing = update(pb::LivestreamConfig::default());
    assert_eq!(fault(livestreams.update_livestream(nothing).await), Fault::field("metadata"));
}

#[tokio::test]
async fn configuration_can_be_updated() {
    let server = Server::start().await;
    let client = server.client().await;
    make_livestream(&client, 7, pb::LivestreamConfig { max_viewers: Some(1), ..Default::default() }).await;
    join_livestream(&client, 7, 2).await;
    let before = livestream(&client, 7).await.config.unwrap();
    let mut livestreams = client.clone().livestreams;
    let change = pb::LivestreamConfig {
        max_viewers: Some(2),
        keyframe_interval: seconds(9),
        max_lag: seconds(8),
        broadcaster_timeout: seconds(0),
        ..Default::default()
    };
    let changed = answered(livestreams.update_livestream(update(change)).await);
    let now = changed.livestream.unwrap().config.unwrap();
    let expected = pb::LivestreamConfig {
        max_viewers: Some(2),
        keyframe_interval: seconds(9),
        max_lag: seconds(8),
        broadcaster_timeout: seconds(0),
        ..before
    };
    assert_eq!(now, expected);
    join_livestream(&client, 7, 3).await;
    // Fewer than there are: nobody goes, and nobody comes.
    let fewer = pb::LivestreamConfig { max_viewers: Some(1), ..Default::default() };
    answered(livestreams.update_livestream(update(fewer)).await);
    assert_eq!(livestream(&client, 7).await.viewer_count, 2);
    let join = pb::JoinLivestreamRequest { livestream_id: 7, node_id: 4, ..Default::default() };
    assert_eq!(fault(livestreams.join_livestream(join).await), Fault::new(ResourceExhausted, "SWARM_FULL"));
    // A repeated Create names what it was made with.
    let create = |max_viewers| pb::CreateLivestreamRequest {
        livestream_id: 7,
        node_id: 1,
        config: Some(pb::LivestreamConfig { max_viewers: Some(max_viewers), ..Default::default() }),
        ..Default::default()
    };
    assert!(!answered(livestreams.create_livestream(create(1)).await).created);
    let refused = Fault::new(AlreadyExists, "SWARM_EXISTS");
    assert_eq!(fault(livestreams.create_livestream(create(2)).await), refused);
}

#[tokio::test]
async fn open_streams_follow_a_changed_bandwidth() {
    let (_server, client) = on_air().await;
    join_livestream(&client, 7, 2).await;
    let publisher = Publisher::open(&client, 7, 1).await;
    let mut viewer = Subscriber::open(&client, 7, 2).await;
    let large = |publisher_sequence| UpdateDraft {
        channel: shared::UpdateChannel::Visual.into(),
        payload: vec![0; 50_000].into(),
        keyframe: true,
        publisher_sequence,
        ..Default::default()
    };
    publisher.send(large(1)).await;
    viewer.places(1).await;
    let narrow = pb::LivestreamConfig { subscriber_bytes_per_second: Some(1_000), ..Default::default() };
    answered(client.clone().livestreams.update_livestream(update(narrow)).await);
    // A second's worth is not enough for one of these twice.
    publisher.send(large(2)).await;
    publisher.send(large(3)).await;
    loop {
        if let Item::Gap(gap) = viewer.item().await {
            assert_eq!(gap.reason(), shared::GapReason::Bandwidth);
            break;
        }
    }
    let wide = pb::LivestreamConfig { subscriber_bytes_per_second: Some(1_000_000_000), ..Default::default() };
    answered(client.clone().livestreams.update_livestream(update(wide)).await);
    publisher.send(large(4)).await;
    loop {
        if let Item::Update(update) = viewer.item().await
            && update.position.unwrap().sequence == 4
        {
            break;
        }
    }
}

#[tokio::test]
async fn group_and_its_participants_can_be_updated() {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, 7, 1).await;
    let session = join_group(&client, 7, 1).await;
    let mut groups = client.clone().groups;
    let request = group::UpdateGroupRequest {
        group_id: 7,
        node_id: 1,
        config: Some(group::GroupConfig { max_participants: Some(2), ..Default::default() }),
        ..Default::default()
    };
    let changed = answered(groups.update_group(request).await);
    assert_eq!(changed.group.unwrap().config.unwrap().max_participants, Some(2));
    join_group(&client, 7, 2).await;
    let watch = group::WatchTargetsRequest { group_id: 7, of_node_id: 2, ..Default::default() };
    let mut watch = answered(groups.watch_targets(watch).await);
    soon(watch.message()).await.unwrap().unwrap();
    let request = group::UpdateParticipantRequest {
        group_id: 7,
        node_id: 1,
        endpoint: Some(b"192.0.2.1:1".as_slice().into()),
        ..Default::default()
    };
    let changed = answered(groups.update_participant(request).await);
    assert_eq!(changed.participant.unwrap().session_id, session);
    let told = soon(watch.message()).await.unwrap().unwrap();
    let Some(group::watch_targets_response::Event::Delta(delta)) = told.event else { panic!("{told:?}") };
    assert_eq!((delta.updated.len(), &delta.updated[0].endpoint[..]), (1, &b"192.0.2.1:1"[..]));
    let nothing = group::UpdateParticipantRequest { group_id: 7, node_id: 1, ..Default::default() };
    assert_eq!(fault(groups.update_participant(nothing).await), Fault::field("metadata"));
}
