//! The size of requests: 64 KiB, 2 MiB where updates are published.

use bytes::Bytes;
use prost::Message as _;
use starling_client::Client;
use starling_client::pb::{group::v1 as group, livestream::v1 as pb};
use tonic::Code::ResourceExhausted;

use crate::edge::world::{everything, go_live, join_group, make_group};
use crate::harness::{Fault, Server, fault};

const LIMIT: usize = 64 * 1024;
const PUBLISHING: usize = 2 * 1024 * 1024;

async fn swarms() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    make_group(&client, 7, 16).await;
    join_group(&client, 7, 1).await;
    (server, client)
}

fn too_large() -> Fault {
    Fault::new(ResourceExhausted, "MESSAGE_TOO_LARGE")
}

/// A request of exactly this many bytes.
fn sized(bytes: usize) -> pb::UpdateLivestreamRequest {
    let request = |metadata| pb::UpdateLivestreamRequest {
        livestream_id: 7,
        node_id: 1,
        metadata: Some(Bytes::from(vec![0; metadata])),
        ..Default::default()
    };
    let overhead = request(bytes).encoded_len() - bytes;
    let request = request(bytes - overhead);
    assert_eq!(request.encoded_len(), bytes);
    request
}

#[tokio::test]
async fn request_size_limit_is_inclusive() {
    let (_server, client) = swarms().await;
    let mut livestreams = client.livestreams.clone();
    let before = everything(&client).await;
    assert_eq!(fault(livestreams.update_livestream(sized(LIMIT)).await), Fault::field("metadata"));
    assert_eq!(fault(livestreams.update_livestream(sized(LIMIT + 1)).await), too_large());
    assert!(before == everything(&client).await, "what is too large changes nothing");
}

#[tokio::test]
async fn large_request_is_refused_by_every_method_kind() {
    let (_server, client) = swarms().await;
    let Client { mut livestreams, mut groups, .. } = client.clone();
    let before = everything(&client).await;
    let large = || Bytes::from(vec![0; LIMIT]);
    let kinds = vec![1; LIMIT + 1];

    let join =
        pb::JoinLivestreamRequest { livestream_id: 7, node_id: 2, endpoint: Some(large()), ..Default::default() };
    assert_eq!(fault(livestreams.join_livestream(join).await), too_large());
    let watch = pb::WatchLivestreamRequest { livestream_id: 7, kinds: kinds.clone(), ..Default::default() };
    assert_eq!(fault(livestreams.watch_livestream(watch).await), too_large());
    let subscribe =
        pb::SubscribeUpdatesRequest { livestream_id: 7, node_id: 1, channels: kinds.clone(), ..Default::default() };
    assert_eq!(fault(livestreams.subscribe_updates(subscribe).await), too_large());

    let update = group::UpdateGroupRequest { group_id: 7, node_id: 1, metadata: Some(large()), ..Default::default() };
    assert_eq!(fault(groups.update_group(update).await), too_large());
    let watch = group::WatchGroupRequest { group_id: 7, kinds, ..Default::default() };
    assert_eq!(fault(groups.watch_group(watch).await), too_large());
    assert!(before == everything(&client).await, "what is too large changes nothing");
}

#[tokio::test]
async fn a_request_that_publishes_may_be_larger() {
    let (_server, client) = swarms().await;
    let Client { mut livestreams, mut groups, .. } = client.clone();
    let draft = |bytes| starling_client::pb::swarm::v1::UpdateDraft {
        payload: Bytes::from(vec![0; bytes]),
        ..crate::edge::updates::keyframe(1)
    };
    let publish = |bytes| pb::PublishUpdateRequest {
        livestream_id: 7,
        node_id: 1,
        update: Some(draft(bytes)),
        ..Default::default()
    };
    assert_eq!(fault(livestreams.publish_update(publish(PUBLISHING - 100)).await), Fault::field("update.payload"));
    assert_eq!(fault(livestreams.publish_update(publish(PUBLISHING)).await), too_large());
    let publish = |bytes| group::PublishUpdateRequest {
        group_id: 7,
        node_id: 1,
        update: Some(draft(bytes)),
        ..Default::default()
    };
    assert_eq!(fault(groups.publish_update(publish(PUBLISHING - 100)).await), Fault::field("update.payload"));
    assert_eq!(fault(groups.publish_update(publish(PUBLISHING)).await), too_large());
}

#[tokio::test]
async fn the_limits_are_those_of_the_configuration() {
    let server = Server::with(|config| config.limits.receive_bytes = 2_048).await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let mut livestreams = client.livestreams.clone();
    assert_eq!(fault(livestreams.update_livestream(sized(2_048)).await), Fault::field("metadata"));
    assert_eq!(fault(livestreams.update_livestream(sized(2_049)).await), too_large());
}

#[tokio::test]
async fn large_headers_are_refused_without_closing_connection() {
    let (_server, client) = swarms().await;
    let mut livestreams = client.livestreams.clone();
    let with = |bytes: usize| {
        let mut request = tonic::Request::new(pb::GetLivestreamRequest { livestream_id: 7, ..Default::default() });
        request.metadata_mut().insert("x-large", "x".repeat(bytes).parse().unwrap());
        request
    };
    livestreams.get_livestream(with(8 * 1024)).await.unwrap();
    let refused = livestreams.get_livestream(with(17 * 1024)).await.unwrap_err();
    assert_eq!(refused.code(), ResourceExhausted, "{refused:?}");
    assert_eq!(Fault::of(&refused).reason, "HEADERS_TOO_LARGE");
    livestreams.get_livestream(with(0)).await.unwrap();
}
