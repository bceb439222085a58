//! The server, and the sets of livestreams and groups.

use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1 as livestream;
use starling_client::pb::swarm::v1::{self as shared, server_service_client::ServerServiceClient};

use crate::meter::Allowed;
use crate::table::{flat, refused, request_id, unary};
use crate::world::{OTHERS, ROOT, World};

const NEW: u64 = 500;

pub(crate) async fn get_server_info(world: &mut World) {
    let mut api = ServerServiceClient::new(world.client.channel.clone());
    flat(world, "", api.get_server_info(shared::GetServerInfoRequest {})).await;
}

pub(crate) async fn revoke_tokens(world: &mut World) {
    let mut api = ServerServiceClient::new(world.client.channel.clone());
    let request = shared::RevokeTokensRequest { subject_node_id: ROOT, issued_before: None };
    flat(world, "", api.revoke_tokens(request)).await;
}

pub(crate) async fn list_revocations(world: &mut World) {
    let mut api = ServerServiceClient::new(world.client.channel.clone());
    let request = shared::ListRevocationsRequest { page_size: 1_000, ..Default::default() };
    unary(world, "", Allowed::Parts(1), api.list_revocations(request), |answer| answer.revocations.len()).await;
}

/// A single process refuses both: what a cluster answers does not depend on its swarms.
pub(crate) async fn get_cluster_status(world: &mut World) {
    let mut api = ServerServiceClient::new(world.client.channel.clone());
    refused(world, "", api.get_cluster_status(shared::GetClusterStatusRequest {})).await;
}

pub(crate) async fn activate_level(world: &mut World) {
    let mut api = ServerServiceClient::new(world.client.channel.clone());
    refused(world, "", api.activate_level(shared::ActivateLevelRequest { level: 1 })).await;
}

pub(crate) async fn create_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = livestream::CreateLivestreamRequest {
        livestream_id: NEW,
        node_id: ROOT,
        metadata: vec![7; 1_024].into(),
        request_id: request_id("create"),
        ..Default::default()
    };
    flat(world, "new", api.create_livestream(request.clone())).await;
    flat(world, "again", api.create_livestream(request)).await;
}

pub(crate) async fn list_livestreams(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let page = livestream::ListLivestreamsRequest { page_size: 1_000, ..Default::default() };
    let count = |answer: livestream::ListLivestreamsResponse| answer.livestreams.len();
    unary(world, "page", Allowed::Parts(1), api.list_livestreams(page.clone()), count).await;
    let states = vec![livestream::LivestreamState::Paused.into()];
    // As many are looked at, and none of them is wanted.
    let none = livestream::ListLivestreamsRequest { states, ..page };
    flat(world, "states", api.list_livestreams(none)).await;
    let livestream_ids = (OTHERS..OTHERS + 1_000).collect();
    let named = livestream::ListLivestreamsRequest { livestream_ids, ..Default::default() };
    unary(world, "named", Allowed::Parts(1), api.list_livestreams(named), |_| 1_000).await;
}

pub(crate) async fn watch_livestreams(world: &mut World) {
    use livestream::watch_livestreams_response::Event;
    let mut api = world.client.livestreams.clone();
    let open = async {
        let answer = api.watch_livestreams(livestream::WatchLivestreamsRequest::default()).await;
        let (mut stream, mut told) = (answer.unwrap().into_inner(), 0);
        while !matches!(stream.message().await.unwrap().unwrap().event, Some(Event::InSync(_))) {
            told += 1;
        }
        (stream, told)
    };
    let mut stream = world.measure("open", Allowed::Parts(2), open).await;
    let mut other = world.client.livestreams.clone();
    let change = async {
        let metadata = Some(vec![8; 1_024].into());
        let livestream_id = OTHERS;
        let request =
            livestream::UpdateLivestreamRequest { livestream_id, node_id: ROOT, metadata, ..Default::default() };
        other.update_livestream(request).await.unwrap();
        stream.message().await.unwrap().unwrap();
        ((), 0)
    };
    world.measure("change", Allowed::Flat, change).await;
    world.close(stream).await;
}

pub(crate) async fn create_group(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request = group::CreateGroupRequest {
        group_id: NEW,
        node_id: ROOT,
        owner_node_id: ROOT,
        metadata: vec![7; 1_024].into(),
        request_id: request_id("create"),
        ..Default::default()
    };
    flat(world, "new", api.create_group(request.clone())).await;
    flat(world, "again", api.create_group(request)).await;
}

pub(crate) async fn list_groups(world: &mut World) {
    let mut api = world.client.groups.clone();
    let page = group::ListGroupsRequest { page_size: 1_000, ..Default::default() };
    let count = |answer: group::ListGroupsResponse| answer.groups.len();
    unary(world, "page", Allowed::Parts(1), api.list_groups(page), count).await;
    let named = group::ListGroupsRequest { group_ids: (OTHERS..OTHERS + 1_000).collect(), ..Default::default() };
    unary(world, "named", Allowed::Parts(1), api.list_groups(named), |_| 1_000).await;
}

pub(crate) async fn watch_groups(world: &mut World) {
    use group::watch_groups_response::Event;
    let mut api = world.client.groups.clone();
    let open = async {
        let answer = api.watch_groups(group::WatchGroupsRequest::default()).await;
        let (mut stream, mut told) = (answer.unwrap().into_inner(), 0);
        while !matches!(stream.message().await.unwrap().unwrap().event, Some(Event::InSync(_))) {
            told += 1;
        }
        (stream, told)
    };
    let mut stream = world.measure("open", Allowed::Parts(2), open).await;
    let mut other = world.client.groups.clone();
    let change = async {
        let request = group::EndGroupRequest { group_id: NEW, node_id: ROOT, ..Default::default() };
        other.end_group(request).await.unwrap();
        stream.message().await.unwrap().unwrap();
        ((), 0)
    };
    world.measure("change", Allowed::Flat, change).await;
    world.close(stream).await;
}
