//! Swarms for tests to act on, and a picture of everything that can be seen of them.

use starling_client::Client;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use tonic::{Request, Response, Status};

use crate::harness::Server;

/// A lease that no test outlives.
pub(crate) const LONG_LEASE: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 300, nanos: 0 });

/// Later than any reader of a test is.
const PATIENT_LAG: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 60, nanos: 0 });

/// The answer of a call that must succeed.
#[track_caller]
pub(crate) fn answered<T>(answer: Result<Response<T>, Status>) -> T {
    answer.expect("the call succeeds").into_inner()
}

/// Makes a livestream of node 1.
pub(crate) async fn make_livestream(client: &Client, livestream_id: u64, config: livestream::LivestreamConfig) {
    let request =
        livestream::CreateLivestreamRequest { livestream_id, node_id: 1, config: Some(config), ..Default::default() };
    answered(client.clone().livestreams.create_livestream(request).await);
}

/// Makes a livestream of node 1 with the default configuration, on air.
pub(crate) async fn go_live(client: &Client, livestream_id: u64) {
    go_live_as(client, livestream_id, livestream::LivestreamConfig::default()).await;
}

/// Makes a livestream of any bandwidth, for those who send all at once.
pub(crate) async fn go_live_wide(client: &Client, livestream_id: u64) {
    let subscriber_bytes_per_second = Some(1_000_000_000);
    go_live_as(
        client,
        livestream_id,
        livestream::LivestreamConfig { subscriber_bytes_per_second, ..Default::default() },
    )
    .await;
}

/// Makes a livestream of any bandwidth in which nobody is ever too late for anything.
pub(crate) async fn go_live_patient(client: &Client, livestream_id: u64) {
    let config = livestream::LivestreamConfig {
        subscriber_bytes_per_second: Some(1_000_000_000),
        max_lag: PATIENT_LAG,
        ..Default::default()
    };
    go_live_as(client, livestream_id, config).await;
}

async fn go_live_as(client: &Client, livestream_id: u64, config: livestream::LivestreamConfig) {
    make_livestream(client, livestream_id, config).await;
    answered(client.clone().livestreams.start_livestream(start(livestream_id)).await);
}

/// A server with livestream 7 on air, of any bandwidth.
pub(crate) async fn on_air() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    (server, client)
}

/// The same with a viewer, 2, and a lurker, 3.
pub(crate) async fn on_air_with_viewers() -> (Server, Client) {
    let (server, client) = on_air().await;
    join_livestream(&client, 7, 2).await;
    lurk(&client, 7, 3).await;
    (server, client)
}

/// Joins a livestream, in the default mode; the session.
pub(crate) async fn join_livestream(client: &Client, livestream_id: u64, node_id: u64) -> u64 {
    let request =
        livestream::JoinLivestreamRequest { livestream_id, node_id, lease_ttl: LONG_LEASE, ..Default::default() };
    answered(client.clone().livestreams.join_livestream(request).await).session_id
}

/// Joins a livestream as a lurker; the session.
pub(crate) async fn lurk(client: &Client, livestream_id: u64, node_id: u64) -> u64 {
    let request = livestream::JoinLivestreamRequest {
        livestream_id,
        node_id,
        mode: livestream::ViewerMode::Lurker.into(),
        lease_ttl: LONG_LEASE,
        ..Default::default()
    };
    answered(client.clone().livestreams.join_livestream(request).await).session_id
}

/// The broadcaster, node 1, goes on air.
pub(crate) fn start(livestream_id: u64) -> livestream::StartLivestreamRequest {
    livestream::StartLivestreamRequest { livestream_id, node_id: 1, ..Default::default() }
}

/// The broadcaster, node 1, holds the livestream.
pub(crate) fn pause(livestream_id: u64) -> livestream::PauseLivestreamRequest {
    livestream::PauseLivestreamRequest { livestream_id, node_id: 1, ..Default::default() }
}

/// The broadcaster, node 1, goes on.
pub(crate) fn resume(livestream_id: u64) -> livestream::ResumeLivestreamRequest {
    livestream::ResumeLivestreamRequest { livestream_id, node_id: 1, ..Default::default() }
}

/// The broadcaster, node 1, mutes a viewer.
pub(crate) async fn mute(client: &Client, livestream_id: u64, viewer_node_id: u64) {
    let request = livestream::MuteViewerRequest { livestream_id, node_id: 1, viewer_node_id, ..Default::default() };
    answered(client.clone().livestreams.mute_viewer(request).await);
}

/// The broadcaster, node 1, ends the livestream.
pub(crate) fn end(livestream_id: u64) -> livestream::EndLivestreamRequest {
    livestream::EndLivestreamRequest { livestream_id, node_id: 1, ..Default::default() }
}

/// Makes a group that node 1 owns.
pub(crate) async fn make_group(client: &Client, group_id: u64, max_participants: u32) {
    let config = group::GroupConfig { max_participants: Some(max_participants), ..Default::default() };
    let request = group::CreateGroupRequest { group_id, owner_node_id: 1, config: Some(config), ..Default::default() };
    answered(client.clone().groups.create_group(request).await);
}

/// Makes a group of any bandwidth, that node 1 owns, in which nobody is ever too late for anything.
pub(crate) async fn make_group_patient(client: &Client, group_id: u64) {
    let config = group::GroupConfig {
        subscriber_bytes_per_second: Some(1_000_000_000),
        max_lag: PATIENT_LAG,
        ..Default::default()
    };
    let request = group::CreateGroupRequest { group_id, owner_node_id: 1, config: Some(config), ..Default::default() };
    answered(client.clone().groups.create_group(request).await);
}

/// Joins a group; the session.
pub(crate) async fn join_group(client: &Client, group_id: u64, node_id: u64) -> u64 {
    let request = group::JoinGroupRequest { group_id, node_id, lease_ttl: LONG_LEASE, ..Default::default() };
    answered(client.clone().groups.join_group(request).await).session_id
}

/// A livestream as it is.
pub(crate) async fn livestream(client: &Client, livestream_id: u64) -> livestream::Livestream {
    let request = livestream::GetLivestreamRequest { livestream_id, ..Default::default() };
    answered(client.clone().livestreams.get_livestream(request).await).livestream.expect("there is one")
}

/// A group as it is.
pub(crate) async fn group(client: &Client, group_id: u64) -> group::Group {
    let request = group::GetGroupRequest { group_id, ..Default::default() };
    answered(client.clone().groups.get_group(request).await).group.expect("there is one")
}

/// Everything that can be seen of all swarms: resources, members, revisions, statistics; the
/// time on air excepted, which goes on by itself.
pub(crate) async fn everything(client: &Client) -> String {
    let Client { mut livestreams, mut groups, .. } = client.clone();
    let mut seen = String::new();
    let mut see = |item: &dyn std::fmt::Debug| seen.push_str(&format!("{item:#?}\n"));
    let list = livestream::ListLivestreamsRequest { page_size: 1_000, ..Default::default() };
    for found in answered(livestreams.list_livestreams(list).await).livestreams {
        let livestream_id = found.livestream_id;
        see(&found);
        let stats = livestream::GetStatsRequest { livestream_id, ..Default::default() };
        let mut found = answered(livestreams.get_stats(stats).await);
        found.stats.as_mut().expect("there are some").active_time = None;
        see(&found);
        let list = livestream::ListViewersRequest { livestream_id, page_size: 1_000, ..Default::default() };
        // Those that ended list nobody.
        see(&livestreams.list_viewers(Request::new(list)).await.map(Response::into_inner).ok());
    }
    let list = group::ListGroupsRequest { page_size: 1_000, ..Default::default() };
    for found in answered(groups.list_groups(list).await).groups {
        let group_id = found.group_id;
        see(&found);
        let stats = group::GetStatsRequest { group_id, ..Default::default() };
        let mut found = answered(groups.get_stats(stats).await);
        found.stats.as_mut().expect("there are some").active_time = None;
        see(&found);
        let list = group::ListParticipantsRequest { group_id, page_size: 1_000, ..Default::default() };
        see(&groups.list_participants(Request::new(list)).await.map(Response::into_inner).ok());
    }
    seen
}
